"""Secrets that systemd hands over take the place of the paths that the configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import credentials, load

DOCUMENT = {
    "host": "db1",
    "signing": {"key_file": "/etc/credstore/art32.signing-key"},
    "sources": [{"password_file": "/etc/credstore/art32.pgpass", "port": 5432}],
    "other": ["/etc/credstore/..", "/etc/credstore/", "/etc/credstore/a/b", "/etc/art32/key.asc"],
}


def test_by_hand_the_paths_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert credentials.found(DOCUMENT) == DOCUMENT


def test_in_a_unit_what_it_was_given_is_found_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "art32.signing-key").touch()
    (tmp_path / "b").touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = credentials.found(DOCUMENT)
    assert found["signing"] == {"key_file": str(tmp_path / "art32.signing-key")}
    # not given to this unit: the path stays, and whoever needs it says that it cannot be read
    assert found["sources"] == DOCUMENT["sources"]
    assert found["other"] == DOCUMENT["other"]


def test_a_unit_knows_the_fingerprints_that_root_has_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name in ("art32.signing-key", "art32.wal-signing-key"):
        (given / name).touch()
        (tmp_path / f"{name}.fingerprint").write_text(("A" if "wal" in name else "B") * 40 + "\n")
    # `host enrol`, by hand and as root, noted them beside the configuration
    monkeypatch.setattr(load, "fingerprint_file", lambda key: tmp_path / f"{key.name}.fingerprint")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    file = tmp_path / "agent.toml"
    file.write_text(
        'host = "db1"\n[store]\nkind = "directory"\npath = "/srv/backups"\n'
        '[signing]\nkey_file = "/etc/credstore/art32.signing-key"\n'
        '[wal.signing]\nkey_file = "/etc/credstore/art32.wal-signing-key"\n'
    )
    config = load.load(file)
    assert config.signing is not None
    assert config.wal is not None
    assert config.wal.signing is not None
    assert (config.signing.fingerprint, config.wal.signing.fingerprint) == ("B" * 40, "A" * 40)
    assert config.signing.key_file == given / "art32.signing-key"
    assert config.wal.signing.key_file == given / "art32.wal-signing-key"
