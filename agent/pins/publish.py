"""Publishing a list of pinned hosts: signed by a root's private key, which a person unlocks.

The next serial number is taken by a conditional PUT: of two people who publish at once, one is
told to look again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from agent import clock
from agent.config.model import Configuration, PinnedKey
from agent.crypto import envelope, keys, private
from agent.crypto.home import isolated_home
from agent.crypto.signatures import Validity
from agent.errors import Art32Error, Code
from agent.pins import document, read
from agent.pins.document import PinList, PinnedHost
from agent.pins.read import Current
from agent.store import Store, digest


def require(config: Configuration, now: Current) -> None:
    """Raise CONFIG_INVALID without a root, PINS_INVALID when a new list would forget an old one."""
    if not config.pins.roots:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "no `pins.roots` are configured: nobody can sign the list of pinned hosts",
            hint="add a [[pins.roots]] section with the root's fingerprint and public key file",
        )
    if now.trusted is None and now.highest:
        raise Art32Error(
            Code.PINS_INVALID,
            "there are lists of pinned hosts in the store, and none of them counts: "
            + "; ".join(now.notes),
            hint="find out who put them there; a new list would forget every host of the old one",
        )


def publish(
    config: Configuration, store: Store, now: Current, hosts: Sequence[PinnedHost]
) -> PinList:
    """Sign and store the list that follows `now`, and return it.

    Raise OBJECT_EXISTS when somebody else has just published one, and a key error when no root
    can sign.
    """
    require(config, now)
    moment = clock.now()
    before = now.trusted
    if now.highest + 1 >= document.SERIALS:
        raise Art32Error(
            Code.PINS_INVALID,
            "no serial number is left: somebody put the highest one into the store",
            hint=f"delete `{document.name(now.highest)}` there, every version of it",
        )
    made = PinList(
        prefix=read.prefix_of(config),
        serial=now.highest + 1,
        previous=before.digest if before else read.GENESIS,
        made=clock.stamp(moment),
        valid_until=clock.stamp(moment + timedelta(days=config.pins.valid_days)),
        hosts=sorted(hosts, key=lambda one: (one.host, one.accepted, one.fingerprint)),
    )
    root, home = _root(config)
    sealed = envelope.seal(
        document.KIND,
        made.serialise(),
        root.fingerprint,
        lambda data: private.sign(home, root.fingerprint, data),
    )
    _verify(config, sealed)
    store.put(document.name(made.serial), sealed, sha256=digest(sealed))
    read.remember(config, sealed)
    return made


def _root(config: Configuration) -> tuple[PinnedKey, Path]:
    """Return the first root that can sign here, and the GnuPG home with its private half."""
    home = config.pins.gnupg_home or Path(os.environ.get("GNUPGHOME") or Path.home() / ".gnupg")
    there = private.signing_primaries(home) if home.is_dir() else frozenset()
    mine = [root for root in config.pins.roots if root.fingerprint in there]
    if not mine:
        raise Art32Error(
            Code.KEY_MISSING,
            f"no private key of a root is in `{home}`",
            hint="run this where the root's key or card is, or name its home in `pins.gnupg_home`",
        )
    failure: Art32Error | None = None
    for root in mine:
        try:
            with isolated_home() as scratch:
                key = keys.read_file(scratch, root, what="the root of the pinned hosts")
            keys.require_usable(key, "s", what="the root of the pinned hosts")
        except Art32Error as error:
            failure = failure or error
        else:
            return root, home
    assert failure is not None
    raise failure


def _verify(config: Configuration, sealed: bytes) -> None:
    """Raise KEY_UNUSABLE unless whoever reads the list with the configured roots will take it."""
    with read.roots(config) as keyring:
        parts = envelope.parse(sealed, document.KIND)
        signature = keyring.verify(parts.signed, parts.signature)
    if signature.validity is not Validity.GOOD:
        raise Art32Error(
            Code.KEY_UNUSABLE,
            f"what the root's key signed does not count: {signature.validity.value}",
            hint="the public key file of the root must be that of the key in the GnuPG home",
        )
