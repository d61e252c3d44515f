"""The README is run: its keys are made, its configuration loaded, its commands executed.

Blocks run in their order, in one directory, with these replacements and no others: paths under
/etc, /var and /srv lead into the test's directory, the placeholders of fingerprints become those
of the keys just made, the bucket becomes a directory store, and gpg asks for no passphrase.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import sandbox
from agent.config.load import load
from agent.errors import Art32Error, Code
from tests.fixtures.databases import PostgreSQLServer
from tests.fixtures.keys import key_directory

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BUCKET = re.compile(r'kind = "s3"\nbucket = "example-backups"\nprefix = "production"\n')
SIGNER, OPERATIONS, ESCROW, ROOT_KEY = (
    "0123456789ABCDEF0123456789ABCDEF01234567",
    "89ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "FEDCBA9876543210FEDCBA9876543210FEDCBA98",
    "76543210FEDCBA9876543210FEDCBA9876543210",
)
GROUPED = "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567"


def block(phrase: str) -> str:
    """Return the one block of shell with a phrase."""
    (found,) = (text for text in blocks("sh") if phrase in text)
    return found


def blocks(language: str) -> list[str]:
    """Return the blocks of a language that are not marked as not run."""
    return [text for found, note, text in BLOCK.findall(README) if found == language and not note]


def test_every_block_runs_or_says_why_not() -> None:
    notes = [
        (language, note.strip())
        for language, note, _ in BLOCK.findall(README)
        if note and note.strip() != "part"
    ]
    assert len(notes) == 10
    for language, note in notes:
        assert language == "sh"
        assert re.fullmatch(r"not run here: .{10,}", note)
    assert len(blocks("sh")) > 6
    assert len(blocks("toml")) == 2


def test_every_configuration_is_valid_as_it_stands(tmp_path: Path) -> None:
    for text in blocks("toml"):
        file = tmp_path / "agent.toml"
        file.write_text(text)
        assert load(file).store.kind == "s3"


def test_a_part_of_a_configuration_is_valid_behind_a_whole_one(tmp_path: Path) -> None:
    parts = [text for language, note, text in BLOCK.findall(README) if note.strip() == "part"]
    assert len(parts) == 5
    file = tmp_path / "agent.toml"
    file.write_text("\n".join([blocks("toml")[0], *parts]))
    config = load(file)
    assert config.sources[-1].kind == "basebackup"
    assert config.drill.checks[0].source == "app"
    assert config.logs.rotate[0].name == "nginx-access"
    assert [root.fingerprint for root in config.pins.roots] == [ROOT_KEY]


def test_the_policy_lets_a_host_put_objects_and_nothing_else() -> None:
    (text,) = blocks("json")
    (statement,) = json.loads(text)["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "s3:PutObject")
    assert all(
        re.fullmatch(
            r"arn:aws:s3:::example-backups/production/(db1|enroll/\$\{aws:userid\}|probe)/\*", one
        )
        for one in statement["Resource"]
    )


def test_every_target_that_make_knows_and_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.M))
    assert {"demo", "test"} <= named
    assert {name for name in named if not re.search(rf"^{name}:", makefile, re.M)} == set()


def test_every_link_leads_to_a_file() -> None:
    pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "agent/README.md", "tests/README.md"]
    broken = []
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
            if "://" not in link and not ((ROOT / page).parent / link).exists():
                broken.append((page, link))
    assert broken == []


@dataclass(frozen=True)
class Site:
    """Where the README's commands run."""

    directory: Path
    bin: Path

    def place(self, text: str) -> str:
        """Return a text with the README's absolute paths inside of the directory."""
        return re.sub(r"/(etc/art32|srv/uploads)\b", rf"{self.directory}/\1", text)

    def run(self, text: str, **more: str) -> str:
        """Run a block as a shell would; return its standard output."""
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.directory / "h"),
            "LC_ALL": "C.UTF-8",
            "ART32_CONFIG": str(self.directory / "etc/art32/agent.toml"),
            **more,
        }
        done = subprocess.run(
            ["sh", "-e", "-c", self.place(text)],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def configure(self, text: str, fingerprints: dict[str, str], *, more: str = "") -> None:
        """Write a configuration of the README with real keys and a directory store."""
        for placeholder, fingerprint in fingerprints.items():
            text = text.replace(placeholder, fingerprint)
        store = self.directory / "store"
        text = BUCKET.sub(f'kind = "directory"\npath = "{store}"\n', text)
        text = text.replace('region = "eu-central-1"\n', "")
        host = text.split('"')[1]  # each machine has its own ledger
        state = f'state_directory = "{self.directory / f"state-{host}"}"\n'
        file = self.directory / "etc/art32/agent.toml"
        file.write_text(state + self.place(text) + more)


@pytest.fixture
def site() -> Iterator[Site]:
    """A short directory with the programs as the README calls them."""
    with key_directory() as directory:
        for name in ("h", "bin", "store", "srv/uploads/2026"):
            (directory / name).mkdir(parents=True, mode=0o700)
        (directory / "h/.gnupg").mkdir(mode=0o700)
        (directory / "srv/uploads/2026/one.txt").write_text("one\n")
        bin_ = directory / "bin"
        _script(bin_ / "art32", f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m agent "$@"')
        gpg = shutil.which("gpg")
        silent = "--batch --pinentry-mode loopback"
        # a passphrase that a command brings itself stays its own
        _script(
            bin_ / "gpg",
            f'case "$*" in *--passphrase*) exec {gpg} {silent} "$@";; esac\n'
            f"exec {gpg} {silent} --passphrase '' \"$@\"",
        )
        try:
            yield Site(directory, bin_)
        finally:
            home = directory / "h/.gnupg"
            subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def can_confine() -> bool:
    """Whether this machine lets this user build the room for restored data."""
    try:
        sandbox.check("nobody")
    except Art32Error as error:
        assert error.code is Code.SANDBOX_UNAVAILABLE  # noqa: PT017
        return False
    return True


def test_what_the_readme_says_to_type_works(site: Site, postgresql: PostgreSQLServer) -> None:
    keys, host_key, first_backup = (
        block("escrow-private.asc"),
        block("umask 077\nmkdir -p /etc/art32"),
        block("art32 doctor || test $? = 20"),
    )
    keeping, restoring, by_hand = block("backup prune"), block("--to -"), block("--passphrase-fd 0")
    root, enrol, accept = block("hosts, root"), block("art32 host enrol"), block(GROUPED)
    named = {keys, host_key, first_backup, keeping, root, enrol, accept, restoring, by_hand}
    host_toml, keeper_toml = blocks("toml")
    (grants,) = blocks("sql")
    postgresql.create("readme", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n;")
    postgresql.sql("DROP ROLE IF EXISTS art32_backup; " + grants)

    printed = site.run(keys).split()
    operations, escrow = printed[0], printed[2]
    (host,) = site.run(host_key).split()
    for name in ("operations.asc", "escrow.asc"):
        shutil.copy(site.directory / name, site.directory / "etc/art32")
    assert (site.directory / "etc/art32/signing-key.asc").stat().st_mode & 0o077 == 0
    fingerprints = {SIGNER: host, OPERATIONS: operations, ESCROW: escrow}

    at_socket = host_toml.replace("/var/run/postgresql", str(postgresql.socket))
    site.configure(at_socket.replace('database = "app"', 'database = "readme"'), fingerprints)
    listed = site.run(first_backup)
    assert re.search(r"db1 +app .* complete", listed)
    assert re.search(r"db1 +uploads .* complete", listed)

    site.run(enrol)
    fingerprints[ROOT_KEY] = site.run(root).strip()
    (pins,) = (text for _, note, text in BLOCK.findall(README) if "[[pins.roots]]" in text)
    signers = keeper_toml[keeper_toml.index("[[signers]]") : keeper_toml.index("[retention]")]
    site.configure(keeper_toml.replace(signers, pins), fingerprints)
    site.run(accept.replace(GROUPED, f"{host[:20]} {host[20:]}"))
    assert re.search(r"db1 +app .* complete", site.run("art32 backup list --all-hosts"))

    site.configure(keeper_toml, fingerprints)
    kept = site.run(keeping)
    assert "good: every object has its signed hash" in kept
    assert "ART32 OK - " in kept

    postgresql.sql("DROP DATABASE IF EXISTS app_restored")
    postgresql.sql("DROP ROLE IF EXISTS restorer; CREATE ROLE restorer LOGIN CREATEDB")
    commands = restoring.replace("/var/run/postgresql", str(postgresql.socket))
    confined = can_confine()
    if not confined:  # art32 refuses then, as it should; what needs no engine still works
        lines = [line for line in commands.splitlines() if re.search(r"verify|--to - ", line)]
        assert len(lines) == 2
        commands = "\n".join(lines)
    site.run(commands)
    for other in blocks("sh"):
        if other not in named:
            site.run(other)
    if confined:
        assert postgresql.sql("SELECT sum(n) FROM t", database="app_restored") == "500500"
        restored = site.directory / "uploads-restored/2026/one.txt"
        assert restored.read_text() == "one\n"
    with_art32 = (site.directory / "app.dump").read_bytes()

    (backup,) = (site.directory / "store/db1/app").iterdir()
    downloaded = site.directory / "backup"
    shutil.copytree(backup, downloaded)
    (segment,) = downloaded.glob("00000-*.pgp")
    for planted in (f"00000-{'f' * 64}.pgp", f"00001-{'0' * 64}.pgp"):  # whoever may write may add
        shutil.copy(segment, downloaded / planted)
    shutil.copy(site.directory / "etc/art32/db1.asc", site.directory)
    site.run(by_hand)
    assert (site.directory / "app.dump").read_bytes() == with_art32
    assert with_art32.startswith(b"PGDMP")
