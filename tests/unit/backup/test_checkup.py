"""The preflight: what it says about keys of every kind, on each kind of machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import cli, sandbox
from agent.backup import checkup, leftovers, make
from agent.backup.checkup import Finding
from agent.backup.sources import RestoreRequest
from agent.config.load import load
from agent.crypto import private
from agent.errors import Art32Error, Code, ExitStatus
from tests.fixtures.keys import Keys, ThrowAwayKey, gpg, key_directory

SUBJECTS = ("keys", "signers", "signer db1", "private key")


def write(directory: Path, signers: Sequence[tuple[str, ThrowAwayKey]], *, more: str = "") -> Path:
    """Write the configuration of a machine that holds no signing key."""
    (directory / "store").mkdir()
    sections = [
        f'host = "keeper"\nstate_directory = "{directory / "state"}"',
        f'[store]\nkind = "directory"\npath = "{directory / "store"}"',
    ]
    sections += [
        f'[[signers]]\nhost = "{host}"\nfingerprint = "{key.fingerprint}"\n'
        f'key_file = "{key.public_file}"'
        for host, key in signers
    ]
    file = directory / "agent.toml"
    file.write_text("\n\n".join([*sections, more]))
    return file


def look(file: Path) -> list[Finding]:
    """Return what is found about keys."""
    found = checkup.examine(load(file), probe=False)
    return [one for one in found if one.subject in SUBJECTS]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "nobody's"))


def test_a_keeper_that_is_well_has_nothing_but_good_findings_about_keys(
    tmp_path: Path, keys: Keys
) -> None:
    found = look(write(tmp_path, [("db1", keys.host)]))
    assert [(one.subject, one.good, one.detail) for one in found] == [
        ("keys", True, "this machine does not back up"),
        ("signer db1", True, keys.host.fingerprint),
    ]


@pytest.mark.parametrize(
    ("name", "words"), [("expired_host", "has expired"), ("revoked_host", "has been revoked")]
)
def test_a_signer_that_is_no_longer_valid_fails(
    tmp_path: Path, keys: Keys, name: str, words: str
) -> None:
    key: ThrowAwayKey = getattr(keys, name)
    found = look(write(tmp_path, [("db1", key), ("db2", keys.other_host)]))[1]
    assert (found.subject, found.good, found.status) == ("signer db1", False, ExitStatus.KEY)
    assert words in found.detail
    assert found.hint


def test_a_retired_signer_may_have_expired_but_not_been_revoked(tmp_path: Path, keys: Keys) -> None:
    retired = "retired_after_sequence = 3\n"
    for name, key, good in (("e", keys.expired_host, True), ("r", keys.revoked_host, False)):
        directory = tmp_path / name
        directory.mkdir()
        file = write(directory, [("db1", key)])
        file.write_text(file.read_text() + retired)
        assert look(file)[1].good is good


def test_a_signer_with_a_missing_or_a_wrong_file_fails(tmp_path: Path, keys: Keys) -> None:
    file = write(tmp_path, [("db1", keys.host)])
    text = file.read_text()
    file.write_text(text.replace(str(keys.host.public_file), "/nonexistent.asc"))
    missing = look(file)[1]
    file.write_text(text.replace(str(keys.host.public_file), str(keys.other_host.public_file)))
    wrong = look(file)[1]
    for found, words in ((missing, "cannot be read"), (wrong, "holds")):
        assert (found.good, found.status) == (False, ExitStatus.KEY)
        assert words in found.detail
        assert found.hint


def test_a_machine_that_accepts_nobodys_signature_fails(tmp_path: Path) -> None:
    found = look(write(tmp_path, []))[1]
    assert (found.subject, found.good) == ("signers", False)


def test_a_restorers_private_keys_are_counted(tmp_path: Path, keys: Keys) -> None:
    more = f'[restore]\ngnupg_home = "{keys.restorer_home}"\n'
    file = write(tmp_path, [("db1", keys.host)], more=more)
    found = look(file)[2]
    assert (found.subject, found.good) == ("private key", True)
    assert found.detail.startswith("2 in ")
    text = file.read_text()
    file.write_text(text.replace(str(keys.restorer_home), str(keys.host.home)))
    assert look(file)[2].good is None
    file.write_text(text.replace(str(keys.restorer_home), "/nonexistent"))
    assert look(file)[2].good is False


def test_a_private_half_that_is_elsewhere_does_not_count(tmp_path: Path, keys: Keys) -> None:
    assert private.decrypting_parts(keys.operations.home)
    for grip in (keys.operations.home / "private-keys-v1.d").iterdir():
        shutil.move(grip, tmp_path)
    try:
        assert private.decrypting_parts(keys.operations.home) == frozenset()
    finally:
        for grip in tmp_path.glob("*.key"):
            shutil.move(grip, keys.operations.home / "private-keys-v1.d")


@pytest.mark.parametrize("holder", ["operations", "host"])
def test_which_recipients_can_be_opened_here_is_said(
    tmp_path: Path, keys: Keys, holder: str
) -> None:
    home = getattr(keys, holder).home
    sections = [
        f'[signing]\nfingerprint = "{keys.host.fingerprint}"\nkey_file = "{keys.host.secret_file}"',
        *(
            f'[[encryption.recipients]]\nname = "{key.name}"\nfingerprint = "{key.fingerprint}"\n'
            f'key_file = "{key.public_file}"'
            for key in (keys.operations, keys.escrow)
        ),
        f'[restore]\ngnupg_home = "{home}"\n',
    ]
    found = look(write(tmp_path, [], more="\n\n".join(sections)))[-1]
    assert found.subject == "private key"
    if holder == "operations":
        assert found.good
        assert found.detail == f"`{home}` opens what is for: operations"
    else:
        assert found.good is None


def test_a_new_subkey_that_the_home_lacks_is_noticed(tmp_path: Path, keys: Keys) -> None:
    newer = tmp_path / "newer.asc"
    with key_directory() as directory:
        home = directory / "h"
        home.mkdir(mode=0o700)
        gpg(home, "--import", stdin=keys.operations.secret_file.read_bytes())
        gpg(home, "--quick-add-key", keys.operations.fingerprint, "cv25519", "encr")
        newer.write_bytes(gpg(home, "--armor", "--export", keys.operations.fingerprint))
    recipient = f'fingerprint = "{keys.operations.fingerprint}"\nkey_file = "{newer}"'
    more = [
        f'[signing]\nfingerprint = "{keys.host.fingerprint}"\nkey_file = "{keys.host.secret_file}"',
        f'[[encryption.recipients]]\nname = "new"\n{recipient}',
        '[encryption]\nsingle_recipient_because = "this is a test"',
        f'[restore]\ngnupg_home = "{keys.restorer_home}"\n',
    ]
    assert look(write(tmp_path, [], more="\n\n".join(more)))[-1].good is None


@pytest.mark.parametrize("restores", [False, True])
def test_only_a_machine_with_private_keys_is_warned_that_it_cannot_confine(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch, *, restores: bool
) -> None:
    def refuse(_user: str) -> None:
        raise Art32Error(Code.SANDBOX_UNAVAILABLE, "no room")

    monkeypatch.setattr(sandbox, "check", refuse)
    more = f'[restore]\ngnupg_home = "{keys.restorer_home}"\n' if restores else ""
    config = load(write(tmp_path, [("db1", keys.host)], more=more))
    found = {one.subject: one for one in checkup.examine(config, probe=False)}
    assert found["confinement"].good is (None if restores else True)


def test_a_hint_stands_under_its_finding(
    tmp_path: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, [("db1", keys.expired_host), ("db2", keys.other_host)])
    with pytest.raises(SystemExit) as end:
        cli.main(["--config", str(file), "doctor"])
    assert end.value.code == ExitStatus.KEY
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("FAIL"))
    assert "signer db1" in lines[place]
    assert lines[place + 1].startswith("      hint: its owner extends it")
    assert "signer db2" in lines[place + 2]
    assert lines[-1].endswith("1 failed")
    with pytest.raises(SystemExit):
        cli.main(["--config", str(file), "--output", "json", "doctor"])
    data = json.loads(capsys.readouterr().out)["data"]
    assert [one["subject"] for one in data if one["result"] == "fail"] == ["signer db1"]


def test_what_a_killed_restore_left_is_named_until_it_is_gone(tmp_path: Path, keys: Keys) -> None:
    config = load(write(tmp_path, [("db1", keys.host)]))
    request = RestoreRequest(str(tmp_path / "dump"), {})
    facts = {"run": "0" * 16, "id": "1" * 16, "source": "app"}

    def found() -> list[Finding]:
        every = checkup.examine(config, probe=False)
        return [one for one in every if one.subject == "restores"]

    left = tmp_path / f".art32-restore-{request.token}"
    left.touch()
    with leftovers.claimed(config.state_directory, request, "command", facts) as warnings:
        assert warnings == []
        (claim,) = (config.state_directory / "restores").iterdir()
        copy = claim.read_bytes()
        assert found() == []
    assert not claim.exists()
    claim.write_bytes(copy)  # as if its process had been killed
    (named,) = found()
    assert (named.good, str(left) in named.detail) == (None, True)
    claim.write_bytes(b"{}")
    (named,) = found()
    assert named.good is None
    assert str(claim) in str(named.hint)
    claim.write_bytes(copy)
    assert leftovers.sweep(config.state_directory, make.ledger_of(config)) == []
    assert not left.exists()
    assert found() == []
    (record,) = make.ledger_of(config).records()
    assert record.facts == {**facts, "result": "unfinished"}


def test_a_state_directory_that_takes_no_note_keeps_no_data_from_people(
    tmp_path: Path, keys: Keys
) -> None:
    config = load(write(tmp_path, [("db1", keys.host)]))
    config.state_directory.mkdir()
    (config.state_directory / "restores").write_text("a file in the way")
    request = RestoreRequest(str(tmp_path / "dump"), {})
    facts = {"run": "0" * 16, "id": "1" * 16, "source": "app"}
    with leftovers.claimed(config.state_directory, request, "command", facts) as warnings:
        assert len(warnings) == 1
