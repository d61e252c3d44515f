"""Public keys as GnuPG lists them, and whether they can do what they are configured for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent import clock, run
from agent.config.model import PinnedKey
from agent.crypto.home import Home
from agent.errors import Art32Error, Code

# With the model `always`, gpg ends fatally over an expired key in a home without a trustdb.
_LISTING = ("--trust-model", "direct", "--with-colons")


@dataclass(frozen=True)
class Subkey:
    """A key packet: the primary itself or one of its subkeys. Times are UTC; None is never."""

    fingerprint: str
    key_id: str
    validity: str
    created: datetime
    expires: datetime | None
    capabilities: str

    def usable(self, capability: str, moment: datetime) -> bool:
        """Whether it can (`e`ncrypt, `s`ign) at that moment."""
        return (
            capability in self.capabilities
            and self.validity not in set("rein")
            and (self.expires is None or self.expires > moment)
        )


@dataclass(frozen=True)
class PublicKey:
    """A primary key with its subkeys, the primary first. No user id: those are personal data."""

    parts: tuple[Subkey, ...]
    private: bool = False  # whether its file holds the private half

    @property
    def fingerprint(self) -> str:
        return self.parts[0].fingerprint

    @property
    def revoked(self) -> bool:
        return self.parts[0].validity == "r"

    def part(self, fingerprint: str) -> Subkey | None:
        """Return the primary or subkey of that fingerprint."""
        return next((part for part in self.parts if part.fingerprint == fingerprint), None)

    def usable_until(self, capability: str, moment: datetime) -> datetime | None:
        """Return when the key stops to be usable; `moment` itself when it is not usable now.

        None is never. A key is usable as long as its primary and at least one part is.
        """
        primary = self.parts[0]
        if primary.validity in set("rein") or (primary.expires and primary.expires <= moment):
            return moment
        ends = [part.expires for part in self.parts if part.usable(capability, moment)]
        if not ends:
            return moment
        last = None if None in ends else max(end for end in ends if end is not None)
        bounds = [end for end in (last, primary.expires) if end is not None]
        return min(bounds) if bounds else None


def _moment(field: str) -> datetime | None:
    return datetime.fromtimestamp(int(field), UTC) if field.isdigit() else None


def parse_colons(listing: str) -> tuple[PublicKey, ...]:
    """Given `gpg --with-colons` output, return its public keys (GnuPG's doc/DETAILS)."""
    keys: list[list[Subkey]] = []
    private = []
    pending: list[str] | None = None
    for line in listing.split("\n"):  # a user id may hold what splitlines() takes for a line's end
        fields = line.split(":")
        if fields[0] in ("pub", "sec", "sub", "ssb"):
            pending = fields
            if fields[0] in ("pub", "sec"):
                keys.append([])
                private.append(fields[0] == "sec")
        elif fields[0] == "fpr" and pending is not None and keys:
            keys[-1].append(
                Subkey(
                    fingerprint=fields[9],
                    key_id=pending[4],
                    validity=pending[1],
                    created=_moment(pending[5]) or datetime.fromtimestamp(0, UTC),
                    expires=_moment(pending[6]),
                    capabilities="".join(c for c in pending[11] if c.islower()),
                )
            )
            pending = None
    return tuple(
        PublicKey(tuple(parts), secret)
        for parts, secret in zip(keys, private, strict=True)
        if parts
    )


def read_file(home: Home, pinned: PinnedKey, *, what: str) -> PublicKey:
    """Return the one key that a file holds.

    Raise KEY_MISSING when it cannot be read or holds no key, KEY_MISMATCH unless it holds exactly
    the pinned one.
    """
    path = Path(pinned.key_file)
    hint = f"gpg --export --armor {pinned.fingerprint} > {path}"
    found = _in_file(home, path, what=what, hint=hint)
    if [key.fingerprint for key in found] != [pinned.fingerprint]:
        others = ", ".join(key.fingerprint for key in found)
        raise Art32Error(
            Code.KEY_MISMATCH,
            f"the key file `{path}` of {what} holds `{others}`, not just `{pinned.fingerprint}`",
            hint="put the right file there, or ask the key's owner for the fingerprint again",
        )
    return found[0]


def read_any(home: Home, path: Path, *, what: str) -> PublicKey:
    """Return the one key that a file holds, whatever its fingerprint.

    Raise KEY_MISSING when it cannot be read or holds no key, KEY_MISMATCH when it holds several.
    """
    hint = "move it away, and have a new key made: art32 host enrol"
    found = _in_file(home, path, what=what, hint=hint)
    if len(found) != 1:
        raise Art32Error(
            Code.KEY_MISMATCH, f"the key file `{path}` of {what} holds several keys", hint=hint
        )
    return found[0]


def show(home: Home, data: bytes) -> tuple[PublicKey, ...]:
    """Return the keys in these bytes, which nothing vouches for; they are not imported."""
    listing = run.run(home.command(*_LISTING, "--show-keys"), stdin=data)
    return parse_colons(listing.stdout.decode("utf-8", "replace"))


def _in_file(home: Home, path: Path, *, what: str, hint: str) -> tuple[PublicKey, ...]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Art32Error(
            Code.KEY_MISSING,
            f"the key file `{path}` of {what} cannot be read: {error.strerror}",
            hint=hint,
        ) from error
    found = show(home, content)
    if not found:
        raise Art32Error(
            Code.KEY_MISSING, f"the key file `{path}` of {what} holds no OpenPGP key", hint=hint
        )
    return found


def require_usable(key: PublicKey, capability: str, *, what: str) -> None:
    """Raise KEY_REVOKED, KEY_EXPIRED or KEY_UNUSABLE unless the key can do its work now."""
    moment = clock.now()
    if key.revoked:
        raise Art32Error(
            Code.KEY_REVOKED,
            f"the key `{key.fingerprint}` of {what} has been revoked",
            hint="configure its successor",
        )
    end = key.usable_until(capability, moment)
    if end is None or end > moment:
        return
    if any(part.validity == "e" or (part.expires and part.expires <= moment) for part in key.parts):
        raise Art32Error(
            Code.KEY_EXPIRED,
            f"the key `{key.fingerprint}` of {what} has expired",
            hint="its owner extends it (`gpg --quick-set-expire`), exports it again, and you "
            "replace the key file",
        )
    verb = {"e": "encrypt", "s": "sign"}[capability]
    raise Art32Error(
        Code.KEY_UNUSABLE,
        f"the key `{key.fingerprint}` of {what} cannot {verb}",
        hint="configure a key that can",
    )


def import_files(home: Home, pinned: Sequence[PinnedKey]) -> None:
    """Import key files into a home, private ones too; raise KEY_UNUSABLE when gpg refuses one."""
    for key in pinned:
        content = Path(key.key_file).read_bytes()
        done = run.run(home.command("--import", starts_agent=True), stdin=content)
        if done.returncode != 0:
            raise Art32Error(Code.KEY_UNUSABLE, f"gpg cannot import the key file `{key.key_file}`")


def import_public_halves(home: Home, pinned: Sequence[PinnedKey]) -> None:
    """Import the public halves of key files: a private one cannot get into the home.

    Raise KEY_UNUSABLE when gpg refuses one.
    """
    for key in pinned:
        run.run(home.command("--import"), stdin=Path(key.key_file).read_bytes())
    there = listed(home)
    for key in pinned:
        if key.fingerprint not in there:
            raise Art32Error(Code.KEY_UNUSABLE, f"gpg cannot import the key file `{key.key_file}`")


def import_public_keys(home: Home, keyblocks: Sequence[bytes]) -> None:
    """Import public keys in binary form; one that gpg refuses is left out, and keeps out no other.

    Whose signature counts is not said by what is in a home.
    """
    if not keyblocks:
        return
    import_all = home.command("--import")
    if run.run(import_all, stdin=b"".join(keyblocks)).returncode != 0:
        for block in keyblocks:
            run.run(import_all, stdin=block)


def listed(home: Home) -> dict[str, PublicKey]:
    """Return the keys of a home by the fingerprint of their primaries."""
    listing = run.run(home.command(*_LISTING, "--list-keys"))
    keys = parse_colons(listing.stdout.decode("utf-8", "replace"))
    return {key.fingerprint: key for key in keys}
