"""Keys live for a day, in memory, and the day before cannot be had back."""

from __future__ import annotations

import hmac
import pickle
from pathlib import Path

import pytest

from agent.config.logs_scrub import Scrub
from agent.errors import Art32Error
from agent.logs.scrub import keys, open_scrubber


def test_a_key_shows_itself_nowhere() -> None:
    key = keys.PeriodKey(b"secret-secret-secret-secret-1234", "2026-11-24")
    assert "secret" not in repr(key) + str(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_a_destroyed_key_makes_no_token_any_more() -> None:
    key = keys.random_key("2026-11-24")
    key.destroy()
    with pytest.raises(ValueError, match="destroyed"):
        _ = key.secret
    with pytest.raises(ValueError, match="destroyed"):
        open_scrubber(Scrub(mode="pseudonym"), key=key)


def test_two_keys_make_two_tokens_and_say_which_is_whose() -> None:
    one, two = keys.random_key("2026-11-24"), keys.random_key("2026-11-25")
    lines = {
        open_scrubber(Scrub(mode="pseudonym"), key=key).scrub(b"203.0.113.77").decode()
        for key in (one, two)
    }
    assert {line.split("-")[1] for line in lines} == {one.key_id, two.key_id}
    assert len({line.split("-")[2] for line in lines}) == 2


def test_the_ratchet_turns_forward_by_days_and_never_back() -> None:
    ratchet = keys.Ratchet(b"0" * 32, "2026-11-28")
    first = ratchet.key("2026-11-28")
    assert first.secret == b"0" * 32
    third = ratchet.key("2026-12-01")
    wanted = b"0" * 32
    for _ in range(3):
        wanted = hmac.digest(wanted, b"next", "sha256")
    assert (third.secret, third.day) == (wanted, "2026-12-01")
    with pytest.raises(ValueError, match="destroyed"):
        _ = first.secret
    with pytest.raises(Art32Error, match="is gone"):
        ratchet.key("2026-11-30")


def test_a_key_in_a_directory_that_is_backed_up_is_refused(tmp_path: Path) -> None:
    keys.refuse_in_backup(tmp_path / "run" / "key", [tmp_path / "srv"])
    (tmp_path / "link").symlink_to(tmp_path / "srv")
    for path in (tmp_path / "srv" / "key", tmp_path / "link" / "key"):
        with pytest.raises(Art32Error, match="backed up"):
            keys.refuse_in_backup(path, [tmp_path / "srv"])
