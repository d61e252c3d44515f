"""The machines: the host that will be lost, and the one that restores. Each is a directory with the
configuration that it would have in production; the private keys are on the second alone."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from agent.runbook import library
from demo.database import quoted
from demo.keys import Keys, configuration
from demo.terminal import Report, quiet
from rehearse.server import DATABASE, Server, account

HOST = "db1"
SOURCE = "server"
STOCK = "restore-to-a-point-in-time-stock-tools"
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Machine:
    """A directory with an agent.toml."""

    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "agent.toml"

    def art32(self, report: Report, *arguments: str) -> None:
        """Run art32 on this machine, shown as one types it; status 20 is no failure."""
        argv = [sys.executable, "-m", "agent", "--config", str(self.config), *arguments]
        shown = f"art32 {shlex.join(arguments)}"
        report.command(argv, shown=shown, accept=(0, 20))


def host(directory: Path, keys: Keys, store: Path, server: Server) -> Machine:
    """Make the host: public keys, its own signing key, a server to copy, a log to archive."""
    directory.mkdir()
    machine = Machine(directory)
    machine.config.write_text(
        configuration(keys, host=HOST, state=directory / "state", store=store)
        + f"""[wal]
socket = {quoted(server.socket / "wal.sock")}
clients = ["{account().pw_name}"]

[[sources]]
name = "{SOURCE}"
kind = "basebackup"
host = {quoted(server.socket)}
user = "replicator"
"""
    )
    return machine


def restorer(directory: Path, keys: Keys, store: Path) -> Machine:
    """Make the machine that restores: it knows the store, the pinned key of the host, and holds the
    private keys."""
    directory.mkdir()
    machine = Machine(directory)
    machine.config.write_text(
        f"""host = "restorer"
state_directory = {quoted(directory / "state")}

[store]
kind = "directory"
path = {quoted(store)}

[[signers]]
host = "{HOST}"
fingerprint = "{keys.signing.fingerprint}"
key_file = {quoted(keys.host_public)}

[restore]
gnupg_home = {quoted(keys.restorer_home)}
server_user = "{account().pw_name}"
"""
    )
    return machine


def client(directory: Path) -> str:
    """Copy what PostgreSQL starts to where its user can read it, and return how to call it."""
    for name in ("__init__.py", "__main__.py", "wal"):
        source, target = _ROOT / "agent" / name, directory / "agent" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    return f"env PYTHONPATH={directory} {python} -S -m agent wal"


def by_hand(keys: Keys, values: dict[str, str]) -> None:
    """Follow the runbook for stock tools: its blocks in one bash, with no line of art32 in it."""
    page = library.find(STOCK)
    blocks = [block.text for block in page.blocks if block.kind in ("check", "fix")]
    variables = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    script = "\n".join(["set -Eeuo pipefail", *variables, *blocks])
    quiet(
        ["bash", "-c", script],
        environment={"GNUPGHOME": str(keys.restorer_home), "PATH": os.environ["PATH"]},
    )


def by_hand_values(
    server: Server, store: Path, keys: Keys, work: Path, moment: str
) -> dict[str, str]:
    """Return what a person would fill in."""
    (cluster,) = (store / "wal" / HOST).iterdir()
    (base,) = (store / HOST / SOURCE).iterdir()
    return {
        "BACKUP": str(base),
        "ARCHIVE": str(cluster),
        "SIGNER_KEY": str(keys.host_public),
        "BACKUP_HOST": HOST,
        "SOURCE": SOURCE,
        "WORK": str(work),
        "DATA": str(server.data),
        "BINARIES": str(server.programs),
        "SOCKET": str(server.socket),
        "LOG": str(server.socket / "log"),
        "OWNER": account().pw_name,
        "ADMIN": account().pw_name,
        "DATABASE": DATABASE,
        "MOMENT": moment,
    }
