"""What a host does at its first boot, and may do at each: make its signing key, publish its half.

Each step is done once: what a crash left half done the next run finishes.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from agent import clock, files, run
from agent.backup import identity, make
from agent.config.model import Configuration, PinnedKey, S3Store, Signing
from agent.crypto import envelope, keys
from agent.crypto.home import Home, isolated_home
from agent.crypto.keys import PublicKey
from agent.crypto.signatures import sign
from agent.errors import Art32Error, Code
from agent.host import record
from agent.host.record import Enrolment
from agent.pins import read as pins
from agent.pins.document import Purpose
from agent.store import aws, digest

EVENT = "host-enrolled"
_WHAT = "this host's signing key"


@dataclass(frozen=True)
class Enrolled:
    """What was done. `replaced` is the key of the machine that this one is a copy of."""

    fingerprint: str
    identity: str
    name: str
    made: bool
    published: bool
    replaced: str | None = None


def enrol_wal(config: Configuration, *, expires: str) -> Enrolled | None:
    """Do the same as `enrol` with the key of `wal.signing`; None where there is no such section."""
    signing = config.wal.signing if config.wal is not None else None
    if signing is None:
        return None
    return enrol(config.model_copy(update={"signing": signing}), expires=expires, purpose="wal")


def enrol(config: Configuration, *, expires: str, purpose: Purpose = None) -> Enrolled:
    """Make the key unless it is there, publish it unless it is published; return what was done.

    `expires` is as gpg takes it (`3y`, `never`). A machine that finds the enrolment of another one
    beside its key is a copy of it, and makes a key of its own.

    Raise CONFIG_INVALID without a `[signing]` section, key errors for a key that is not what the
    configuration says, and what `put` raises; the key stays then.
    """
    signing = config.signing
    if signing is None:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration has no `signing`: this machine signs nothing",
            hint='add a [signing] section with `key_file = "/etc/art32/signing-key.asc"`',
        )
    lock = config.state_directory / "locks" / ".enrol.lock"
    with files.lock(lock, what="the enrolment of this host", wait=True):
        made = _own(signing) is None
        if made:
            _make(config, signing, expires)
        who = identity_of(config)
        kept = _kept(signing)
        replaced = None
        if kept is not None and not made and aws.is_aws(config.store) and kept.identity != who:
            replaced, made = kept.fingerprint, True
            _make(config, signing, expires, instead=True)
        return _publish(config, signing, who, purpose, made=made, replaced=replaced)


def identity_of(config: Configuration) -> str:
    """Return the name below which this machine may enrol; at AWS ask who it is."""
    if config.signing is not None and config.signing.identity is not None:
        return config.signing.identity
    if isinstance(config.store, S3Store) and aws.is_aws(config.store):
        return aws.user_id(config.store)
    return config.host


def _own(signing: Signing) -> PublicKey | None:
    """Return this host's key, None when there is none yet; note its fingerprint if need be."""
    if not signing.key_file.exists():
        noted = _noted(signing)
        if signing.fingerprint is not None and signing.fingerprint != noted:
            raise Art32Error(
                Code.KEY_MISSING,
                f"the key file `{signing.key_file}` of {_WHAT} is not there",
                hint="bring it back, or take `signing.fingerprint` out of the configuration to "
                "have a new key made",
            )
        return None
    identity.require_private(signing.key_file)
    with isolated_home() as home:
        found = keys.read_any(home, signing.key_file, what=_WHAT)
    if signing.fingerprint not in (None, found.fingerprint, _noted(signing)):
        raise Art32Error(
            Code.KEY_MISMATCH,
            f"the key file `{signing.key_file}` of {_WHAT} holds `{found.fingerprint}`, not "
            f"`{signing.fingerprint}`",
            hint="put the right file there, or take `signing.fingerprint` out of the configuration",
        )
    keys.require_usable(found, "s", what=_WHAT)
    if _noted(signing) != found.fingerprint:
        _note(signing, found.fingerprint)
    return found


def _noted(signing: Signing) -> str | None:
    try:
        return signing.fingerprint_file.read_text("ascii").strip()
    except (OSError, ValueError):
        return None


def _note(signing: Signing, fingerprint: str) -> None:
    files.replace(signing.fingerprint_file, fingerprint.encode() + b"\n", mode=0o644)


def _make(config: Configuration, signing: Signing, expires: str, *, instead: bool = False) -> None:
    """Make a key; the private half leaves the scratch home for the key file and nothing else."""
    with isolated_home() as home:
        without_a_person = ("--pinentry-mode", "loopback", "--passphrase", "")
        done = run.run(
            home.command(
                *without_a_person,
                *("--quick-generate-key", f"{config.host}, backups", "ed25519", "sign", expires),
                starts_agent=True,
            )
        )
        there = list(keys.listed(home))
        if done.returncode != 0 or len(there) != 1:
            raise Art32Error(
                Code.KEY_UNUSABLE,
                f"gpg makes no key that ends `{expires}`",
                hint="give a time as gpg takes it: 3y, 18m, 2028-12-31, never",
            )
        exported = run.run(
            home.command(
                *without_a_person,
                *("--armor", "--export-secret-keys", there[0]),
                starts_agent=True,
            )
        )
        if exported.returncode != 0 or not exported.stdout:
            raise Art32Error(Code.KEY_UNUSABLE, "gpg does not hand out the key that it has made")
        try:
            files.make_directory(signing.key_file.parent, mode=0o755)
            if instead:
                files.replace(signing.key_file, exported.stdout)
            else:
                files.create(signing.key_file, exported.stdout)
            _note(signing, there[0])
        except OSError as error:
            raise Art32Error(
                Code.DISK,
                f"the signing key `{signing.key_file}` cannot be written: {error.strerror}",
                hint="its directory must be on a healthy disk and belong to the user who runs "
                "art32",
            ) from error


def _kept(signing: Signing) -> Enrolment | None:
    """Return the enrolment that lies beside the key."""
    try:
        data = signing.enrolment_file.read_bytes()
        return record.parse(envelope.parse(data, record.KIND).payload)
    except (OSError, ValueError):
        return None


def _publish(
    config: Configuration,
    signing: Signing,
    who: str,
    purpose: Purpose,
    *,
    made: bool,
    replaced: str | None,
) -> Enrolled:
    """Store the enrolment; the very same bytes each time, so that one which is there is ours."""
    prefix = pins.prefix_of(config)
    with isolated_home() as home:
        own = keys.read_any(home, signing.key_file, what=_WHAT)
        pinned = PinnedKey(fingerprint=own.fingerprint, key_file=signing.key_file)
        keys.import_files(home, [pinned])
        kept = _kept(signing)
        wanted = (own.fingerprint, who, config.host, prefix, purpose)
        if kept is None or wanted != (
            *(kept.fingerprint, kept.identity, kept.host, kept.prefix, kept.purpose),
        ):
            enrolment = _enrolment(config, home, own.fingerprint, who, prefix, purpose)
            sealed = envelope.seal(
                record.KIND,
                enrolment.serialise(),
                own.fingerprint,
                lambda data: sign(home, own.fingerprint, data),
            )
            files.replace(signing.enrolment_file, sealed, mode=0o644)
    sealed = signing.enrolment_file.read_bytes()
    name = record.name(who, own.fingerprint)
    published = True
    try:
        pins.store_of(config).put(name, sealed, sha256=digest(sealed))
    except Art32Error as error:
        if error.code is not Code.OBJECT_EXISTS:
            raise
        published = False
    if published:
        make.ledger_of(config).append(EVENT, fingerprint=own.fingerprint, identity=who)
    return Enrolled(own.fingerprint, who, name, made, published, replaced)


def _enrolment(
    config: Configuration, home: Home, fingerprint: str, who: str, prefix: str, purpose: Purpose
) -> Enrolment:
    exported = run.run(home.command("--export-options", "export-minimal", "--export", fingerprint))
    return Enrolment(
        prefix=prefix,
        host=config.host,
        identity=who,
        fingerprint=fingerprint,
        made=clock.stamp(clock.now()),
        machine=record.this_machine(),
        purpose=purpose,
        key=base64.b64encode(exported.stdout).decode("ascii"),
    )
