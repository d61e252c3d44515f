"""Make the repositories of this folder anew; see README.md. It is not run by any test."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from unittest import mock

from agent.crypto.symmetric import OVERHEAD
from tests.faults import tamper
from tests.faults.damaged import CONTENT, CONTENT_BYTES, HERE, PUBLIC_KEYS, RESTORER_KEY
from tests.faults.harness import SOURCE, command_source
from tests.fixtures.keys import Keys, gpg, key_directory, make_keys
from tests.fixtures.repository import Repository, write_repository

SEGMENT_BYTES = OVERHEAD + 4096

#: name: the deed, and what list, `verify --tier hashes` and restore have to say of it
REPOSITORIES: dict[str, tuple[tamper.Deed | None, dict[str, object]]] = {
    "good": (None, {"state": "complete", "list": 0, "verify": 0, "restore": 0}),
    "cut-segment": (
        tamper.cut("segment"),
        {"state": "suspect", "list": 20, "verify": 14, "restore": 14},
    ),
    "flipped-bit": (
        tamper.flip("segment"),
        {"state": "complete", "list": 0, "verify": 14, "restore": 14},
    ),
    "missing-key": (
        tamper.remove("key.pgp"),
        {"state": "suspect", "list": 20, "verify": 14, "restore": 14},
    ),
    "signature-of-another-host": (
        tamper.resign("other_host"),
        {"state": "suspect", "list": 20, "verify": 14, "restore": 14},
    ),
    "signature-of-a-stranger": (
        tamper.resign("expired_host_before"),
        {"state": "pending", "list": 20, "verify": 14, "restore": 14},
    ),
    "newer-format": (
        tamper.rewrite(lambda document: document.update(format="art32/backup/2"), signer="host"),
        {"state": "suspect", "list": 20, "verify": 14, "restore": 14},
    ),
    "replayed": (
        tamper.replay("", "", "20301231T235959Z", "0123456789abcdef"),
        {"state": "suspect", "list": 20, "verify": 14, "restore": 14},
    ),
    "no-signature": (
        tamper.remove("manifest.json.sig"),
        {"state": "absent", "list": 0, "verify": 10, "restore": 10},
    ),
}


def _pack(store: Path, name: str) -> None:
    archive = HERE / f"{name}.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(store.rglob("*")):
            info = tarfile.TarInfo(str(path.relative_to(store)))
            if path.is_file():
                info.size, info.mode = path.stat().st_size, 0o600
                tar.addfile(info, io.BytesIO(path.read_bytes()))


def _good(directory: Path, keys: Keys) -> Repository:
    content = directory / "content"
    directory.mkdir()
    content.write_bytes(CONTENT)
    good = write_repository(directory, keys, command_source("cat", str(content)))
    good.back_up(SOURCE, segment_bytes=SEGMENT_BYTES)
    return good


def _write_keys(keys: Keys) -> None:
    for name in PUBLIC_KEYS:
        shutil.copy(getattr(keys, name).public_file, HERE / f"{name}.asc")
    secret = gpg(keys.operations.home, "--armor", "--export-secret-keys")
    (HERE / RESTORER_KEY).write_bytes(secret)
    fingerprints = {name: getattr(keys, name).fingerprint for name in PUBLIC_KEYS}
    (HERE / "fingerprints.json").write_text(json.dumps(fingerprints, indent=2) + "\n")


def main() -> None:
    """Write keys, archives and expectations into this folder."""
    assert len(CONTENT) == CONTENT_BYTES
    with key_directory() as place, tempfile.TemporaryDirectory() as temporary:
        keys = make_keys(place)
        with mock.patch("os.uname", return_value=mock.Mock(nodename="db1")):  # not this machine's
            good = _good(Path(temporary) / "origin", keys)
        _write_keys(keys)
        for name, (deed, expected) in REPOSITORIES.items():
            store = Path(temporary) / name / "store"
            shutil.copytree(good.store, store)
            (backup,) = (store / good.host / SOURCE).iterdir()
            if deed is not None:
                deed(backup, backup, keys)
            (backup,) = (store / good.host / SOURCE).iterdir()
            expected["id"] = backup.name.rpartition("-")[2]
            _pack(store, name)
            (HERE / f"{name}.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
