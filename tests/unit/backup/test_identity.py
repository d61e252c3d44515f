"""The keys of a machine: whatever cannot work at the end of a backup stops it at the beginning."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from agent.backup import identity
from agent.errors import Art32Error, Code
from tests.fixtures.keys import Keys, ThrowAwayKey, gpg, key_directory
from tests.fixtures.repository import MakeRepository, Repository

COMMAND = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["printf", "some data"]'


def refused(site: Repository) -> Art32Error:
    with pytest.raises(Art32Error) as caught, identity.writer(site.configuration()):
        pytest.fail("a writer without working keys")
    assert caught.value.hint
    assert "example.invalid" not in f"{caught.value.sentence} {caught.value.hint}"
    return caught.value


def test_a_writer_holds_checked_recipients_and_a_signer(
    make_repository: MakeRepository, keys: Keys
) -> None:
    with identity.writer(make_repository(COMMAND).configuration()) as writer:
        assert [one.config.name for one in writer.recipients] == ["operations", "escrow"]
        assert writer.signer.fingerprint == keys.host.fingerprint
        assert writer.warnings() == []
        home = writer.home.path
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "code"), [("expired_host", Code.KEY_EXPIRED), ("revoked_host", Code.KEY_REVOKED)]
)
def test_an_unfit_signing_key_stops_the_run(
    make_repository: MakeRepository, keys: Keys, name: str, code: Code
) -> None:
    assert refused(make_repository(COMMAND, signing=getattr(keys, name))).code is code


def test_a_signing_key_that_others_may_read_stops_the_run(
    make_repository: MakeRepository, keys: Keys, tmp_path: Path
) -> None:
    copy = tmp_path / "signing.asc"
    copy.write_bytes(keys.host.secret_file.read_bytes())
    site = make_repository(COMMAND, signing=dataclasses.replace(keys.host, secret_file=copy))
    for mode in (0o640, 0o604, 0o601):
        copy.chmod(mode)
        assert refused(site).code is Code.PERMISSION
    copy.chmod(0o600)
    with identity.writer(site.configuration()):
        pass


def test_only_the_public_half_of_the_signing_key_stops_the_run(
    make_repository: MakeRepository, keys: Keys, tmp_path: Path
) -> None:
    copy = tmp_path / "signing.asc"
    copy.touch(mode=0o600)
    copy.write_bytes(keys.host.public_file.read_bytes())
    site = make_repository(COMMAND, signing=dataclasses.replace(keys.host, secret_file=copy))
    assert refused(site).code is Code.KEY_UNUSABLE


def test_a_signing_key_with_a_passphrase_stops_the_run(make_repository: MakeRepository) -> None:
    with key_directory() as directory:
        home = directory / "home"
        home.mkdir(mode=0o700)
        user = "locked <locked@example.invalid>"
        gpg(home, "--passphrase", "sesame", "--quick-generate-key", user, "ed25519", "sign")
        listing = gpg(home, "--with-colons", "--list-keys").decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listing if line.startswith("fpr:"))
        secret = directory / "signing.asc"
        secret.touch(mode=0o600)
        secret.write_bytes(
            gpg(home, "--passphrase", "sesame", "--armor", "--export-secret-keys", fingerprint)
        )
        key = ThrowAwayKey("locked", fingerprint, home, secret, secret)
        assert refused(make_repository(COMMAND, signing=key)).code is Code.KEY_UNUSABLE


def test_a_machine_without_signers_judges_nothing(make_repository: MakeRepository) -> None:
    config = make_repository(COMMAND).configuration()
    bare = config.model_copy(update={"signing": None, "signers": (), "sources": ()})
    with pytest.raises(Art32Error) as caught, identity.reader(bare):
        pytest.fail("a reader who trusts nobody")
    assert caught.value.code is Code.CONFIG_INVALID
    without = config.model_copy(update={"encryption": None})
    with pytest.raises(Art32Error), identity.writer(without):
        pytest.fail("a writer without recipients")


def test_a_reader_knows_the_signers_and_its_own_key(
    make_repository: MakeRepository, keys: Keys
) -> None:
    signers = [("db2", keys.other_host), ("old", keys.expired_host), ("bad", keys.revoked_host)]
    config = make_repository(COMMAND, signers=signers).configuration()
    with identity.reader(config) as reader:
        assert [(pin.host, pin.fingerprint) for pin in reader.pins] == [
            ("db2", keys.other_host.fingerprint),
            ("old", keys.expired_host.fingerprint),
            ("bad", keys.revoked_host.fingerprint),
            ("db1", keys.host.fingerprint),
        ]
        assert set(reader.keyring.keys) == {pin.fingerprint for pin in reader.pins}
        home = reader.home.path
    assert not os.path.lexists(home)
