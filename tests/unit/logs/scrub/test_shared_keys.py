"""One client has one token a day in all processes of a host, and none when the day is over."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import root
from agent.config.load import parse
from agent.config.logs_scrub import Scrub
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.logs import checkup
from agent.logs.pipe.scrubbing import DailyScrubber
from agent.logs.rotate import work
from agent.logs.scrub import keys, shared_keys
from agent.logs.scrub.shared_keys import SharedKeys

MEMORY = Path("/dev/shm")


@pytest.fixture
def directory() -> Iterator[Path]:
    if not os.path.ismount(MEMORY):
        pytest.skip("/dev/shm is no file system in memory here")
    place = Path(tempfile.mkdtemp(dir=MEMORY, prefix="art32-test-"))
    try:
        yield place / "keys"
    finally:
        shutil.rmtree(place)


def _secret(directory: Path) -> bytes:
    return SharedKeys(directory).key("2026-11-24").secret


def test_processes_that_begin_at_once_get_one_key(directory: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        secrets = pool.map(_secret, [directory] * 12)
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == keys.SIZE


def test_a_restart_keeps_the_token_of_a_client_and_another_day_has_another(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Scrub(mode="pseudonym", key_directory=directory)
    first = DailyScrubber(settings).scrub(b"203.0.113.77\n")
    scrubber = DailyScrubber(settings)
    assert scrubber.scrub(b"::ffff:203.0.113.77\n") == first
    for module in (keys, shared_keys):
        monkeypatch.setattr(module, "today", lambda: "2999-01-01")
    monkeypatch.setattr("agent.logs.pipe.scrubbing.today", lambda: "2999-01-01")
    assert scrubber.scrub(b"203.0.113.77\n") != first
    assert [path.name for path in directory.iterdir()] == ["2999-01-01.key"]


def test_where_logs_are_rotated_a_pipe_leaves_the_key_of_yesterday_to_the_rotation(
    directory: Path,
) -> None:
    SharedKeys(directory).key("2020-01-01")
    DailyScrubber(Scrub(mode="pseudonym", key_directory=directory), rotated=True)
    assert (directory / "2020-01-01.key").exists()


def test_the_pipes_of_one_process_share_a_key_without_a_directory_too() -> None:
    settings = Scrub(mode="pseudonym")
    held = shared_keys.open_keys(settings)
    one, two = DailyScrubber(settings, held), DailyScrubber(settings, held)
    assert one.scrub(b"203.0.113.77\n") == two.scrub(b"203.0.113.77\n")
    assert DailyScrubber(settings).scrub(b"203.0.113.77\n") != one.scrub(b"203.0.113.77\n")


def test_a_forgotten_key_is_overwritten_and_gone(directory: Path) -> None:
    held = SharedKeys(directory)
    secret = held.key("2026-11-23").secret
    with (directory / "2026-11-23.key").open("rb") as open_before:
        held.key("2026-11-24")
        held.forget("2026-11-24")
        assert open_before.read() == bytes(keys.SIZE)
    assert [path.name for path in directory.iterdir()] == ["2026-11-24.key"]
    assert held.key("2026-11-23").secret != secret


def test_a_directory_on_a_disk_is_refused(directory: Path) -> None:
    on_disk = Path(tempfile.mkdtemp(dir=Path(__file__).parent))
    try:
        with pytest.raises(Art32Error, match="would outlive its day") as caught:
            SharedKeys(on_disk)
        assert caught.value.code is Code.CONFIG_INVALID
        assert list(on_disk.iterdir()) == []
    finally:
        on_disk.rmdir()
    with pytest.raises(Art32Error, match="backed up"):
        SharedKeys(directory, backed_up=[directory.parent])


def test_a_directory_or_a_key_that_others_may_read_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    with pytest.raises(Art32Error, match="open to others"):
        SharedKeys(directory)
    directory.chmod(0o700)
    held = SharedKeys(directory)
    held.key("2026-11-24")
    path = directory / "2026-11-24.key"
    path.chmod(0o644)
    with pytest.raises(Art32Error, match="others may read it"):
        held.key("2026-11-24")
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(Art32Error, match="no key can be had") as caught:
        held.key("2026-11-24")
    assert caught.value.code is Code.KEY_UNUSABLE


def test_a_key_that_was_cut_is_refused(directory: Path) -> None:
    held = SharedKeys(directory)
    held.key("2026-11-24")
    (directory / "2026-11-24.key").write_bytes(b"short")
    with pytest.raises(Art32Error, match="is no key of art32's"):
        held.key("2026-11-24")


def _configuration(**scrub: str) -> Configuration:
    watched = {"files": [{"path": "/var/log/nginx/access.log"}]}
    document = {
        "host": "h",
        "store": {"kind": "directory", "path": "/srv"},
        "logs": {"watch": watched, "scrub": {"mode": "pseudonym", **scrub}},
    }
    return parse(document, origin="test")


def test_what_runs_as_a_unit_shares_its_keys_without_being_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shared_keys.VARIABLE, str(directory))
    settings = Scrub(mode="pseudonym")
    first = DailyScrubber(settings).scrub(b"203.0.113.77\n")
    assert DailyScrubber(settings).scrub(b"203.0.113.77\n") == first
    assert shared_keys.unshared(_configuration()) is None
    elsewhere = directory.with_name("elsewhere")
    configured = Scrub(mode="pseudonym", key_directory=elsewhere)
    assert DailyScrubber(configured).scrub(b"203.0.113.77\n") != first
    assert elsewhere.is_dir()


def _about_keys(config: Configuration) -> list[tuple[bool | None, str]]:
    found = checkup.examine(config)
    return [(one.good, one.detail) for one in found if one.subject == "log keys"]


def test_doctor_warns_of_tokens_that_change_with_each_process(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(shared_keys.VARIABLE, raising=False)
    monkeypatch.setattr(shared_keys, "UNITS_DIRECTORY", directory / "run" / "keys")
    ((good, detail),) = _about_keys(_configuration())
    assert good is None
    assert "another token after a restart" in detail
    (directory / "run").mkdir(parents=True)  # as the package makes it
    ((good, detail),) = _about_keys(_configuration())
    assert good is True
    assert "own units share one a day" in detail
    ((good, _),) = _about_keys(_configuration(key_directory=str(directory / "shared")))
    assert good is True
    (directory / "shared").chmod(0o755)
    ((good, detail),) = _about_keys(_configuration(key_directory=str(directory / "shared")))
    assert good is False
    assert "open to others" in detail
    assert _about_keys(_configuration(mode="truncate")) == []


def test_config_check_and_rotate_say_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(shared_keys.VARIABLE, raising=False)
    monkeypatch.setattr(shared_keys, "UNITS_DIRECTORY", tmp_path / "none" / "keys")
    file = tmp_path / "agent.toml"
    file.write_text(
        'host = "h"\n[store]\nkind = "directory"\npath = "/srv"\n[logs.scrub]\nmode = "pseudonym"\n'
        '[[logs.watch.files]]\npath = "/var/log/nginx/access.log"\n'
    )
    done = CliRunner().invoke(root, ["--config", str(file), "config", "check"])
    assert done.exit_code == 0
    assert "pseudonyms change with each process" in done.stderr
    file.write_text(file.read_text().replace("pseudonym", "truncate"))
    assert CliRunner().invoke(root, ["--config", str(file), "config", "check"]).stderr == ""
    assert any("each rotation" in one for one in work._Treatments(_configuration(), None).warnings)
