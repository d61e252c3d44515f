"""A small world for a runbook to act in: art32 on the path, a site, and a `systemctl` of its own.

The runbook's own blocks run in it, through `art32 runbook run`, as a person would run them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.repository import Repository

BIN = Path(sys.executable).parent


@dataclass
class World:
    """`site` holds configuration and store; `values` are the variables of the runbooks."""

    directory: Path
    site: Repository
    values: dict[str, str] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tools.mkdir(exist_ok=True)

    @property
    def tools(self) -> Path:
        return self.directory / "tools"

    def tool(self, name: str, script: str) -> None:
        """Put a program of this world on the path, before the machine's own."""
        path = self.tools / name
        path.write_text(f"#!/bin/bash\nset -eu\n{script}\n")
        path.chmod(0o755)

    def art32(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run art32 with the site's configuration."""
        return subprocess.run(
            [str(BIN / "art32"), *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        places = [str(self.tools), *self.path, str(BIN), os.environ["PATH"]]
        return {
            "PATH": ":".join(places),
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            "ART32_CONFIG": str(self.site.config_file),
            "GNUPGHOME": str(self.site.keys.restorer_home),
            **self.environment,
        }

    def shell(self, command: str, directory: Path | None = None) -> str:
        """Run a line as the person at the keyboard, in the project's directory by default."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=directory or self.values["PROJECT"],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def follow(
        self, runbook: str, *options: str, purpose: str = "mend"
    ) -> subprocess.CompletedProcess[str]:
        """Follow a runbook without a person, everything destructive included."""
        variables = self.directory / "variables"
        variables.write_text("".join(f"{name}={value}\n" for name, value in self.values.items()))
        return self.art32(
            *("runbook", "run", runbook, "--yes", "--danger", "--purpose", purpose),
            *("--variables", str(variables), *options),
        )

    def verified(self, runbook: str) -> bool:
        """Whether the runbook's own verification is green; red is status 14, nothing else."""
        done = self.follow(runbook, purpose="verify")
        assert done.returncode in (0, 14), done.stderr
        return done.returncode == 0

    def mends(self, runbook: str) -> subprocess.CompletedProcess[str]:
        """Follow a runbook in a broken world: its verification is red before and green after."""
        assert not self.verified(runbook), f"the verification of {runbook} is green too early"
        done = self.follow(runbook)
        assert done.returncode in (0, 20), done.stderr
        assert self.verified(runbook)
        return done

    def undoes(self, runbook: str) -> None:
        """Take it back."""
        done = self.follow(runbook, purpose="undo")
        assert done.returncode == 0, done.stderr

    def events(self) -> list[str]:
        """Return the runbook events of the ledger: event and, of a step, its word."""
        lines = (self.site.state / "ledger.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [
            f"{one['event']} {one['facts'].get('word', '')}".strip()
            for one in records
            if one["event"].startswith("runbook")
        ]
