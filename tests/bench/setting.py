"""Keys, configuration and the command lines that are compared."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import Measured, run

_STREAM = """
import os, sys
block = os.urandom(1 << 20)
text = (b"%016d some words that compress well, " * 30000 % tuple(range(30000)))[: 1 << 20]
out = sys.stdout.buffer
for number in range(int(sys.argv[1]) * 512):
    out.write(number.to_bytes(8, "big")); out.write(block[8:]); out.write(text)
"""


class Setting:
    """One bench directory: data, keys, one configuration, scratch space for the others."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.dump = base / "dump" / "dump.sql"
        self.tree = base / "tree"
        self.files = base / "files"
        self.store = base / "store"
        self.scratch = base / "scratch"
        self.config = base / "agent.toml"
        self.art32 = str(Path(sys.executable).parent / "art32")
        self._keys()

    def _gpg(self, home: Path, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(home), "--no-options", "--batch", "--quiet"]
        return subprocess.run([*command, *arguments], check=True, capture_output=True).stdout

    def _new_key(self, name: str, *kind: str) -> str:
        of_this_bench = hashlib.sha256(str(self.base).encode()).hexdigest()[:8]
        home = Path(f"/tmp/art32-bench-{of_this_bench}-{name}")
        if home.exists():
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
            shutil.rmtree(home, ignore_errors=True)  # the agent removes its sockets meanwhile
        home.mkdir(mode=0o700, exist_ok=True)
        self.homes[name] = home
        self._gpg(home, "--passphrase", "", "--quick-gen-key", name, *kind, "0")
        listing = self._gpg(home, "--list-keys", "--with-colons").decode()
        fingerprint = next(
            line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr")
        )
        export = "--export-secret-keys" if name == "host" else "--export"
        file = self.base / f"{name}.asc"
        file.write_bytes(self._gpg(home, "--armor", export, fingerprint))
        file.chmod(0o600)
        return fingerprint

    def _keys(self) -> None:
        self.homes: dict[str, Path] = {}
        self.fingerprints = {
            "operations": self._new_key("operations", "future-default", "default"),
            "escrow": self._new_key("escrow", "future-default", "default"),
            "host": self._new_key("host", "ed25519", "sign"),
        }

    def write_config(self, *, stream_gib: int) -> None:
        """Write the configuration: one source for each part of the bench."""
        recipients = "".join(
            f'[[encryption.recipients]]\nname = "{name}"\n'
            f'fingerprint = "{self.fingerprints[name]}"\nkey_file = "{self.base}/{name}.asc"\n'
            for name in ("operations", "escrow")
        )
        stream = self.base / "stream.py"
        stream.write_text(_STREAM)
        sources = {
            "line": 'kind = "command"\ncommand = ["echo", "one line"]',
            "dump": f'kind = "command"\ncommand = ["cat", "{self.dump}"]',
            "tree": f'kind = "directory"\npath = "{self.tree}"',
            "files": f'kind = "directory"\npath = "{self.files}"',
            "stream": f'kind = "command"\ncommand = ["{sys.executable}", "{stream}", '
            f'"{stream_gib}"]',
        }
        self.config.write_text(
            f'host = "bench"\nstate_directory = "{self.base}/state"\n'
            f'[store]\nkind = "directory"\npath = "{self.store}"\n'
            f'[signing]\nfingerprint = "{self.fingerprints["host"]}"\n'
            f'key_file = "{self.base}/host.asc"\n{recipients}'
            f'[restore]\ngnupg_home = "{self.homes["operations"]}"\n'
            + "".join(f'[[sources]]\nname = "{name}"\n{text}\n' for name, text in sources.items())
        )

    def _fresh(self, path: Path) -> Path:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def back_up(self, source: str, *, memory: bool = False) -> Measured:
        """A backup into an empty store."""
        self._fresh(self.store)
        shutil.rmtree(self.base / "state", ignore_errors=True)
        command = [self.art32, "--config", str(self.config), "backup", "run", source]
        return run(command, sample_memory=memory)

    def restore(self, source: str, *, memory: bool = False) -> Measured:
        """A restore to a pipe that throws away."""
        command = [self.art32, "--config", str(self.config), "restore", source, "--to", "-"]
        return run(command, sample_memory=memory)

    def bare(self, producer: str) -> Measured:
        """The same duties by hand: public keys, hashed, durable."""
        out = self._fresh(self.scratch) / "bare.pgp"
        files = " ".join(f"--recipient-file {self.base}/{n}.asc" for n in ("operations", "escrow"))
        home = self.homes["operations"]
        return run(
            f"{producer} | zstd -q -T0 | gpg --homedir {home} --no-options --batch -q -z0 "
            f"--trust-model always {files} -e | tee >(sha256sum >{out}.sha256) "
            f"| dd of={out} bs=1M iflag=fullblock conv=fsync status=none"
        )

    def bare_restore(self) -> Callable[[], Measured]:
        """Make a backup with the stock pipeline; return what brings it back."""
        self.bare(f"cat {self.dump}")
        out = self.scratch / "bare.pgp"
        home = self.homes["operations"]
        return lambda: run(
            f"cat {out} | gpg --homedir {home} --no-options --batch -q -d | zstd -q -d | cat"
        )

    def restic(self, *, stdin: Path | None = None, directory: Path | None = None) -> Measured:
        environment = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": f"{self.base}/restic"}
        shutil.rmtree(self.base / "restic", ignore_errors=True)
        run(["restic", "--no-cache", "init"], environment=environment)
        feed = (
            f"cat {stdin} | restic --no-cache backup --stdin --stdin-filename dump.sql"
            if stdin
            else f"restic --no-cache backup {directory}"
        )
        return run(feed, environment=environment)

    def restic_restore(self) -> Measured:
        environment = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": f"{self.base}/restic"}
        measured = run("restic --no-cache dump latest dump.sql | cat", environment=environment)
        shutil.rmtree(self.base / "restic", ignore_errors=True)
        return measured

    def borg(self, *, stdin: Path | None = None, directory: Path | None = None) -> Measured:
        environment = {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self.base / "borg-home")}
        shutil.rmtree(self.base / "borg", ignore_errors=True)
        run(["borg", "init", "-e", "repokey-blake2", f"{self.base}/borg"], environment=environment)
        place = f"{self.base}/borg::one"
        feed = (
            f"cat {stdin} | borg create -C zstd,3 {place} -"
            if stdin
            else f"borg create -C zstd,3 {place} {directory}"
        )
        return run(feed, environment=environment)

    def borg_restore(self) -> Measured:
        environment = {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self.base / "borg-home")}
        measured = run(
            f"borg extract --stdout {self.base}/borg::one | cat", environment=environment
        )
        shutil.rmtree(self.base / "borg", ignore_errors=True)
        return measured

    def duplicity(self, directory: Path) -> Measured:
        target = self._fresh(self.base / "duplicity")
        measured = run(
            [
                "duplicity",
                "full",
                "--encrypt-key",
                self.fingerprints["operations"],
                "--gpg-options",
                f"--homedir {self.homes['operations']} --trust-model always",
                "--archive-dir",
                str(self._fresh(self.base / "duplicity-cache")),
                str(directory),
                f"file://{target}",
            ]
        )
        shutil.rmtree(target)
        return measured
