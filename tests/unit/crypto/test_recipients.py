"""Who can read a backup: any reader who is not fit stops the run, and nobody else gets in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.config.model import Recipient
from agent.crypto import packets, recipients
from agent.crypto.home import Home, isolated_home
from agent.crypto.keys import PublicKey, Subkey, parse_colons, read_file
from agent.errors import Art32Error, Code
from tests.fixtures.keys import Keys, ThrowAwayKey, gpg, key_directory

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def home() -> Iterator[Home]:
    with isolated_home() as found:
        yield found


def recipient(key: ThrowAwayKey, path: Path | None = None, *, name: str | None = None) -> Recipient:
    return Recipient(
        name=(name or key.name).replace("_", "-"),
        fingerprint=key.fingerprint,
        key_file=path or key.public_file,
    )


@dataclass(frozen=True)
class Special:
    """Keys with unusual subkeys."""

    several: ThrowAwayKey
    subkey_ids: tuple[str, ...]
    short_lived: ThrowAwayKey
    lost_subkey: ThrowAwayKey


def _made(directory: Path, name: str, at: datetime | None = None) -> tuple[Path, str]:
    home = directory / name
    home.mkdir(mode=0o700)
    user = f"{name} <{name}@example.invalid>"
    gpg(home, "--quick-generate-key", user, "ed25519", "cert", "never", at=at)
    return home, _parts(home)[0]


def _parts(home: Path) -> list[str]:
    listing = gpg(home, "--with-colons", "--list-keys").decode().splitlines()
    return [line.split(":")[9] for line in listing if line.startswith("fpr:")]


def _exported(directory: Path, home: Path, name: str, fingerprint: str) -> ThrowAwayKey:
    public = directory / f"{name}.asc"
    public.write_bytes(gpg(home, "--armor", "--export", fingerprint))
    return ThrowAwayKey(name, fingerprint, home, public, public)


@pytest.fixture(scope="module")
def special() -> Iterator[Special]:
    with key_directory() as directory:
        home, several = _made(directory, "several")
        for _ in range(3):
            gpg(home, "--quick-add-key", several, "cv25519", "encr", "never")
        ids = tuple(part[-16:] for part in _parts(home)[1:])
        short_home, short = _made(directory, "short")
        gpg(short_home, "--quick-add-key", short, "cv25519", "encr", "20d")
        lost_home, lost = _made(directory, "lost", LONG_AGO)
        gpg(lost_home, "--quick-add-key", lost, "cv25519", "encr", "30d", at=LONG_AGO)
        yield Special(
            _exported(directory, home, "several", several),
            ids,
            _exported(directory, short_home, "short", short),
            _exported(directory, lost_home, "lost", lost),
        )


def test_fit_recipients_are_returned_with_their_keys(keys: Keys, home: Home) -> None:
    wanted = [recipient(keys.operations), recipient(keys.escrow)]
    checked = recipients.check(home, wanted)
    assert [one.key.fingerprint for one in checked] == [one.fingerprint for one in wanted]
    assert not any(one.key.private for one in checked)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("expired_recipient", Code.KEY_EXPIRED),
        ("revoked_recipient", Code.KEY_REVOKED),
        ("host", Code.KEY_UNUSABLE),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_any_unfit_recipient_stops_everything(
    keys: Keys, home: Home, name: str, code: Code, first: bool
) -> None:
    unfit = recipient(getattr(keys, name))
    pair = [unfit, recipient(keys.escrow)] if first else [recipient(keys.escrow), unfit]
    with pytest.raises(Art32Error) as caught:
        recipients.check(home, pair)
    assert caught.value.code is code
    assert unfit.name in caught.value.sentence
    assert caught.value.hint


def test_a_key_whose_only_encryption_subkey_expired_stops_everything(
    special: Special, home: Home
) -> None:
    with pytest.raises(Art32Error) as caught:
        recipients.check(home, [recipient(special.lost_subkey)])
    assert caught.value.code is Code.KEY_EXPIRED


def test_a_private_key_among_the_recipients_stops_everything(keys: Keys, home: Home) -> None:
    given = recipient(keys.operations, keys.operations.secret_file)
    with pytest.raises(Art32Error, match="private key") as caught:
        recipients.check(home, [given])
    assert caught.value.code is Code.KEY_UNUSABLE


def test_files_that_do_not_hold_exactly_the_key_stop_everything(
    keys: Keys, home: Home, tmp_path: Path
) -> None:
    own, other = keys.operations.public_file.read_bytes(), keys.escrow.public_file.read_bytes()
    binary = gpg(keys.restorer_home, "--export", keys.escrow.fingerprint)
    cases = {
        "another key": (other, Code.KEY_MISMATCH),
        "two keys": (own + other, Code.KEY_MISMATCH),
        "two keys, other first": (other + own, Code.KEY_MISMATCH),
        "two binary keys": (
            gpg(keys.restorer_home, "--export", keys.operations.fingerprint) + binary,
            Code.KEY_MISMATCH,
        ),
        "nothing": (b"", Code.KEY_MISSING),
        "text": (b"fingerprint: " + keys.operations.fingerprint.encode(), Code.KEY_MISSING),
        "a cut key": (own[: len(own) // 2], Code.KEY_MISSING),
        "a signature": (keys.host.sign(b"data"), Code.KEY_MISSING),
        "random": (bytes(range(256)) * 10, Code.KEY_MISSING),
    }
    for name, (content, code) in cases.items():
        path = tmp_path / "key.asc"
        path.write_bytes(content)
        with pytest.raises(Art32Error) as caught:
            recipients.check(home, [recipient(keys.operations, path)])
        assert caught.value.code is code, name


def test_a_key_file_that_cannot_be_read_stops_everything(keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with isolated_home() as home:
        for path in (tmp_path / "absent", tmp_path, tmp_path / "loop"):
            with pytest.raises(Art32Error) as caught:
                recipients.check(home, [recipient(keys.operations, path)])
            assert caught.value.code is Code.KEY_MISSING


def test_no_message_names_the_person_behind_a_key(keys: Keys, home: Home, tmp_path: Path) -> None:
    for name in ("expired_recipient", "revoked_recipient", "host"):
        with pytest.raises(Art32Error) as caught:
            recipients.check(home, [recipient(getattr(keys, name))])
        assert "example.invalid" not in f"{caught.value.sentence} {caught.value.hint}"


@pytest.mark.parametrize(
    ("days", "said"),
    [(365, None), (91, None), (90, 90), (89, 90), (31, 90), (30, 30), (8, 30), (7, 7), (0, 7)],
)
@pytest.mark.parametrize("which", ["primary", "subkey"])
def test_an_expiry_is_warned_of_ninety_thirty_and_seven_days_ahead(
    days: int, said: int | None, which: str
) -> None:
    end = clock.now() + timedelta(days=days) - timedelta(seconds=5 if days else -60)
    later = None if which == "subkey" else end
    primary = Subkey("F" * 40, "F" * 16, "-", LONG_AGO, later, "sc")
    subkey = Subkey("E" * 40, "E" * 16, "-", LONG_AGO, end if which == "subkey" else None, "e")
    warning = recipients.expiry_warning(PublicKey((primary, subkey)), "e", what="`x`")
    assert warning is None if said is None else f"within {said} days" in str(warning)


def test_a_subkey_that_expires_before_its_primary_is_warned_of(
    special: Special, home: Home
) -> None:
    (checked,) = recipients.check(home, [recipient(special.short_lived, name="short")])
    assert "within 30 days" in str(recipients.expiry_warning(checked.key, "e", what="`short`"))


def test_of_several_subkeys_the_longest_life_counts() -> None:
    soon, late = clock.now() + timedelta(days=3), clock.now() + timedelta(days=300)
    primary = Subkey("F" * 40, "F" * 16, "-", LONG_AGO, None, "sc")
    parts = [
        Subkey(c * 40, c * 16, "-", LONG_AGO, end, "e") for c, end in (("A", soon), ("B", late))
    ]
    assert PublicKey((primary, *parts)).usable_until("e", clock.now()) == late
    revoked = Subkey("C" * 40, "C" * 16, "r", LONG_AGO, None, "e")
    assert PublicKey((primary, parts[0], revoked)).usable_until("e", clock.now()) == soon


def test_what_is_encrypted_opens_for_every_recipient(keys: Keys, home: Home) -> None:
    checked = recipients.check(home, [recipient(keys.operations), recipient(keys.escrow)])
    message = recipients.encrypt(home, b"passphrase\n", checked)
    assert len(packets.recipients_of(message)) == 2
    for key in (keys.operations, keys.escrow):
        assert gpg(key.home, "--decrypt", stdin=message) == b"passphrase\n"


def test_a_recipient_with_several_subkeys_is_one_recipient(
    special: Special, keys: Keys, home: Home
) -> None:
    checked = recipients.check(home, [recipient(special.several), recipient(keys.escrow)])
    message = recipients.encrypt(home, b"passphrase\n", checked)
    found = packets.recipients_of(message)
    assert len(found) == 2
    assert len(set(found) & set(special.subkey_ids)) == 1
    for subkey in special.subkey_ids:
        own = gpg(
            special.several.home,
            *("--rfc4880", "--trust-model", "always", "--recipient", f"{subkey}!", "--encrypt"),
            stdin=b"x",
        )
        recipients.inspect(own, [checked[0].key])


def _sealed(keys: Keys, *options: str) -> bytes:
    ring = keys.directory / "everybody"
    if not ring.exists():
        ring.mkdir(mode=0o700)
        for key in (keys.operations, keys.escrow, keys.expired_recipient):
            gpg(ring, "--import", stdin=key.public_file.read_bytes())
        gpg(ring, "--quick-generate-key", "third <third@example.invalid>", "future-default")
    common = ("--rfc4880", "--trust-model", "always", "-z", "0", "--output", "-")
    return gpg(ring, *common, *options, stdin=b"passphrase\n")


def test_a_message_for_anybody_but_the_configured_keys_is_refused(keys: Keys, home: Home) -> None:
    wanted = recipients.check(home, [recipient(keys.operations), recipient(keys.escrow)])
    public = [one.key for one in wanted]
    ours = ("-r", keys.operations.fingerprint, "-r", keys.escrow.fingerprint)
    good = _sealed(keys, *ours, "--encrypt")
    recipients.inspect(good, public)
    wrong = {
        "one left out": _sealed(keys, *ours[:2], "--encrypt"),
        "a third": _sealed(keys, *ours, "-r", "third", "--encrypt"),
        "another instead": _sealed(keys, *ours[:2], "-r", "third", "--encrypt"),
        "hidden third": _sealed(keys, *ours, "--hidden-recipient", "third", "--encrypt"),
        "hidden ours": _sealed(keys, *ours[:2], "-R", keys.escrow.fingerprint, "--encrypt"),
        "a passphrase": _sealed(keys, *ours, "--passphrase", "x", "--encrypt", "--symmetric"),
        "one twice": _twice(good),
        "only a passphrase": _sealed(keys, "--passphrase", "x", "--symmetric"),
        "signed only": keys.host.sign(b"passphrase"),
        "plain": b"passphrase\n",
        "empty": b"",
        "armored": _sealed(keys, *ours, "--armor", "--encrypt"),
        "cut": good[:-1],
        "longer": good + b"x",
    }
    for name, message in wrong.items():
        with pytest.raises(Art32Error) as caught:
            recipients.inspect(message, public)
        assert caught.value.code is Code.ENCRYPTION_INEFFECTIVE, name


def _twice(message: bytes) -> bytes:
    length = message[1] + 2 if message[0] & 3 == 0 else int.from_bytes(message[1:3], "big") + 3
    return message[:length] + message


def test_a_key_file_exchanged_after_the_check_is_noticed(
    keys: Keys, home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "operations.asc"
    path.write_bytes(keys.operations.public_file.read_bytes())
    checked = recipients.check(home, [recipient(keys.operations, path), recipient(keys.escrow)])
    with isolated_home() as elsewhere:
        gpg(elsewhere.path, "--quick-generate-key", "thief <t@example.invalid>", "future-default")
        path.write_bytes(gpg(elsewhere.path, "--armor", "--export"))
    with pytest.raises(Art32Error) as caught:
        recipients.encrypt(home, b"passphrase\n", checked)
    assert caught.value.code is Code.ENCRYPTION_INEFFECTIVE


def test_a_user_id_cannot_forge_a_line_of_a_listing(home: Home, tmp_path: Path) -> None:
    with isolated_home() as elsewhere:
        name = "x\u2028pub\u2028fpr\u2028sub\u0085ssb <x@example.invalid>"
        gpg(elsewhere.path, "--quick-generate-key", name, "ed25519", "sign", "never")
        exported = gpg(elsewhere.path, "--armor", "--export")
        (fingerprint,) = _parts_of(elsewhere.path)
    path = tmp_path / "key.asc"
    path.write_bytes(exported)
    given = Recipient(name="x", fingerprint=fingerprint, key_file=path)
    assert len(read_file(home, given, what="x").parts) == 1


def _parts_of(home: Path) -> list[str]:
    listing = gpg(home, "--with-colons", "--list-keys").decode().split("\n")
    return [line.split(":")[9] for line in listing if line.startswith("fpr:")]


@pytest.mark.parametrize("text", ["", "pub", "tru::1:2", "fpr:::::::::ABC:", "uid:-::::"])
def test_listings_without_keys_hold_none(text: str) -> None:
    assert parse_colons(text) == ()
