"""Repositories written once by an earlier version, good and damaged: what is said of them stays."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import damaged
from tests.faults.damaged import CONTENT, HERE, RESTORER_KEY
from tests.faults.harness import SOURCE, Interpreters, Site, site
from tests.faults.test_store_faults import require_clean
from tests.fixtures.keys import Keys, gpg, key_directory
from tests.fixtures.repository import text

NAMES = sorted(path.stem for path in HERE.glob("*.tar"))


@pytest.fixture(scope="module")
def restorer_home() -> Iterator[Path]:
    with key_directory() as directory:
        home = directory / "restorer"
        home.mkdir(mode=0o700)
        gpg(home, "--import", stdin=(HERE / RESTORER_KEY).read_bytes())
        yield home


def extract(archive: Path, directory: Path) -> None:
    """Unpack one of our own archives."""
    subprocess.run(
        ["tar", "--extract", f"--file={archive}", f"--directory={directory}", "--no-same-owner"],
        check=True,
    )


def unpack(one: Site, name: str, restorer_home: Path) -> None:
    """Put an archive into the site's store, and let its configuration be that of a restorer."""
    extract(HERE / f"{name}.tar", one.repository.store)
    fingerprints = json.loads((HERE / "fingerprints.json").read_text())
    signers = "".join(
        f"[[signers]]\nhost = {text(host)}\nfingerprint = {text(fingerprints[key])}\n"
        f"key_file = {text(HERE / f'{key}.asc')}\n"
        for host, key in (("db1", "host"), ("web1", "other_host"))
    )
    one.repository.config_file.write_text(
        f'host = "db1"\nstate_directory = {text(one.repository.state)}\n'
        f'[store]\nkind = "directory"\npath = {text(one.repository.store)}\n'
        f"[restore]\ngnupg_home = {text(restorer_home)}\n{signers}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_known_repository_is_judged_and_restored_as_ever(
    keys: Keys, interpreters: Interpreters, restorer_home: Path, name: str
) -> None:
    expected = json.loads((HERE / f"{name}.json").read_text())
    with site(keys, interpreters) as one:
        unpack(one, name, restorer_home)
        listed = one.run("backup", "list")
        require_clean(listed)
        (entry,) = listed.data["backups"]
        assert (entry["id"], entry["state"]) == (expected["id"], expected["state"])
        assert listed.status == expected["list"]
        verified = one.run("backup", "verify", "--tier", "hashes")
        require_clean(verified)
        assert verified.status == expected["verify"]
        restored = one.run("restore", SOURCE, "--to", str(one.target), "--id", expected["id"])
        require_clean(restored)
        assert restored.status == expected["restore"]
        if expected["restore"] == 0:
            assert one.target.read_bytes() == CONTENT
        else:
            assert not os.path.lexists(one.target)


def test_the_good_repository_opens_with_stock_tools(restorer_home: Path, tmp_path: Path) -> None:
    extract(HERE / "good.tar", tmp_path)
    (backup,) = tmp_path.glob(f"db1/{SOURCE}/*")
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=backup, check=True)
    passphrase = gpg(restorer_home, "--decrypt", stdin=(backup / "key.pgp").read_bytes())
    key = tmp_path / "passphrase"
    key.write_bytes(passphrase)
    stream = b"".join(
        subprocess.run(
            [
                *("gpg", "--homedir", str(restorer_home), "--no-options", "--batch", "--quiet"),
                *("--pinentry-mode", "loopback", "--passphrase-file", str(key)),
                *("--decrypt", str(segment)),
            ],
            capture_output=True,
            check=True,
        ).stdout
        for segment in sorted(backup.glob("[0-9]*.pgp"))
    )
    zstd = subprocess.run(["zstd", "-dc"], input=stream, capture_output=True, check=True)
    assert zstd.stdout == CONTENT


def test_every_archive_is_described() -> None:
    readme = (HERE / "README.md").read_text()
    assert len(NAMES) >= 6
    for name in NAMES:
        assert f"| `{name}` |" in readme
    assert len(CONTENT) == damaged.CONTENT_BYTES
