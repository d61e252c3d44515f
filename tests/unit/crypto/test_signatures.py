"""Signing and judging outside the catalog: what `tests/unit/backup/test_catalog.py` leaves out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.config.model import PinnedKey
from agent.crypto import keys as keyring
from agent.crypto.home import Home, isolated_home
from agent.crypto.signatures import Keyring, Validity, sign
from agent.errors import Art32Error, Code
from tests.fixtures.keys import Keys, ThrowAwayKey, gpg


@pytest.fixture
def home() -> Iterator[Home]:
    with isolated_home() as found:
        yield found


def _import(home: Home, key: ThrowAwayKey, *, secret: bool = False) -> None:
    path = key.secret_file if secret else key.public_file
    pinned = PinnedKey(fingerprint=key.fingerprint, key_file=path)
    keyring.import_files(home, [pinned])


def test_what_is_signed_here_verifies_there(keys: Keys, home: Home) -> None:
    _import(home, keys.host, secret=True)
    signature = sign(home, keys.host.fingerprint, b"data")
    with isolated_home() as elsewhere:
        _import(elsewhere, keys.host)
        pinned = Keyring(elsewhere)
        good = pinned.verify(b"data", signature)
        assert (good.validity, good.signer) == (Validity.GOOD, keys.host.fingerprint)
        assert pinned.verify(b"date", signature).validity is Validity.BAD
        leftovers = [path.name for path in elsewhere.path.glob("signature-*")]
        assert leftovers == []


@pytest.mark.parametrize("name", ["expired_host", "revoked_host"])
def test_an_unfit_key_does_not_sign(keys: Keys, home: Home, name: str) -> None:
    _import(home, getattr(keys, name), secret=True)
    with pytest.raises(Art32Error) as caught:
        sign(home, getattr(keys, name).fingerprint, b"data")
    assert caught.value.code is Code.KEY_UNUSABLE


def test_a_public_key_does_not_sign(keys: Keys, home: Home) -> None:
    _import(home, keys.host)
    with pytest.raises(Art32Error) as caught:
        sign(home, keys.host.fingerprint, b"data")
    assert caught.value.code is Code.KEY_UNUSABLE


def test_an_empty_keyring_knows_nobody(keys: Keys, home: Home) -> None:
    found = Keyring(home).verify(b"data", keys.host.sign(b"data"))
    assert (found.validity, found.signer, found.made_at) == (Validity.UNKNOWN_SIGNER, None, None)


def test_one_unfit_key_among_the_pinned_does_not_hide_the_others(keys: Keys, home: Home) -> None:
    for key in (keys.expired_host, keys.revoked_host, keys.host):
        _import(home, key)
    pinned = Keyring(home)
    assert len(pinned.keys) == 3
    assert pinned.verify(b"data", keys.host.sign(b"data")).validity is Validity.GOOD


def test_a_signed_user_id_cannot_forge_a_status_line(home: Home) -> None:
    with isolated_home() as elsewhere:
        name = "x\u2028[GNUPG:] BADSIG\u0085[GNUPG:] NEWSIG <x@example.invalid>"
        gpg(elsewhere.path, "--quick-generate-key", name, "ed25519", "sign", "never")
        signature = gpg(elsewhere.path, "--detach-sign", stdin=b"data")
        exported = gpg(elsewhere.path, "--export")
    gpg(home.path, "--import", stdin=exported)
    assert Keyring(home).verify(b"data", signature).validity is Validity.GOOD


def test_a_key_that_gpg_does_not_import_is_an_error(keys: Keys, home: Home) -> None:
    path = keys.directory / "garbage"
    path.write_bytes(b"no key")
    with pytest.raises(Art32Error) as caught:
        keyring.import_files(home, [PinnedKey(fingerprint="A" * 40, key_file=path)])
    assert caught.value.code is Code.KEY_UNUSABLE
