"""Throw-away keys, made as the README says: two recipients, and the host's own signing key."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.database import quoted
from demo.terminal import quiet


@dataclass(frozen=True)
class KeyFile:
    """A key by its fingerprint, and the file that the configuration names."""

    fingerprint: str
    file: Path


@dataclass(frozen=True)
class Keys:
    """`restorer_home` holds the private keys of both recipients; `host_public` is what a restorer
    pins."""

    restorer_home: Path
    operations: KeyFile
    escrow: KeyFile
    signing: KeyFile
    host_public: Path


def configuration(made: Keys, *, host: str, state: Path, store: Path) -> str:
    """Return how the agent's configuration of a host with these keys begins."""
    return f"""host = "{host}"
state_directory = {quoted(state)}

[store]
kind = "directory"
path = {quoted(store)}

[signing]
fingerprint = "{made.signing.fingerprint}"
key_file = {quoted(made.signing.file)}

[[encryption.recipients]]
name = "operations"
fingerprint = "{made.operations.fingerprint}"
key_file = {quoted(made.operations.file)}

[[encryption.recipients]]
name = "escrow"
fingerprint = "{made.escrow.fingerprint}"
key_file = {quoted(made.escrow.file)}

"""


def _gpg(home: Path, *arguments: str) -> bytes:
    options = ("--homedir", home, "--no-options", "--batch", "--no-tty", "--quiet")
    return quiet(["gpg", *options, "--pinentry-mode", "loopback", "--passphrase", "", *arguments])


def _fingerprint(home: Path, name: str) -> str:
    listing = _gpg(home, "--with-colons", "--list-keys", name).decode().splitlines()
    return next(line.split(":")[9] for line in listing if line.startswith("fpr:"))


def _write(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


@contextmanager
def made(directory: Path) -> Iterator[Keys]:
    """Make the keys in a new directory; GnuPG's agents end with the block, the keys stay."""
    directory.mkdir(mode=0o700)
    restorer, host = directory / "restorer", directory / "host"
    homes = (restorer, host)
    for home in homes:
        home.mkdir(mode=0o700)
    try:
        public = {}
        for name in ("operations", "escrow"):
            kind = ("future-default", "default", "1y")
            _gpg(restorer, "--quick-generate-key", f"demo backups, {name}", *kind)
            fingerprint = _fingerprint(restorer, f"demo backups, {name}")
            exported = _gpg(restorer, "--armor", "--export", fingerprint)
            public[name] = KeyFile(fingerprint, _write(directory / f"{name}.asc", exported))
        _gpg(host, "--quick-generate-key", "demo host", "ed25519", "sign", "1y")
        signer = _fingerprint(host, "demo host")
        private = _gpg(host, "--armor", "--export-secret-keys", signer)
        yield Keys(
            restorer_home=restorer,
            operations=public["operations"],
            escrow=public["escrow"],
            signing=KeyFile(signer, _write(directory / "signing-key.asc", private)),
            host_public=_write(directory / "host.asc", _gpg(host, "--armor", "--export", signer)),
        )
    finally:
        end_agents(homes)


def end_agents(homes: Iterable[Path]) -> None:
    """End the agents of GnuPG homes."""
    for home in homes:
        stop = ["gpgconf", "--homedir", str(home), "--kill", "all"]
        subprocess.run(stop, capture_output=True, check=False)
