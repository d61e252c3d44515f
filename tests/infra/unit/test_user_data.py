"""User-data: small, without secrets, and what it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from infra import host_files
from infra.release import sums
from infra.user_data import LIMIT, SCRIPT, DataVolume, text
from tests.fixtures.stacks import MAIL_SERVER, RELEASE, SOVEREIGN, stack

DUTIES = ["web", "db", "mail", "keeper", "restorer"]
VOLUME = DataVolume("", "/srv", blank=True, attach=True)


@pytest.mark.parametrize("duty", DUTIES)
def test_user_data_is_small_and_valid_and_the_same_for_every_release(duty: str) -> None:
    config = stack(**MAIL_SERVER, dbForm="server")
    found = text(config, duty, VOLUME, "vol-0123456789abcdef0")
    assert len(found.encode()) < LIMIT
    assert found.startswith("#cloud-config\n")
    settings, script = yaml.safe_load(found)["write_files"]
    assert "ART32_VOLUME=vol-0123456789abcdef0" in settings["content"].splitlines()
    assert script["content"] == SCRIPT.read_text()
    assert (settings["permissions"], script["permissions"]) == ("0600", "0700")
    newer = stack(**MAIL_SERVER, **{**RELEASE, "release": "2.0"}, dbForm="server")
    assert text(newer, duty, VOLUME, "vol-0123456789abcdef0") == found


def test_user_data_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 16384 bytes"):
        text(stack(), "web", DataVolume("", "/" + "x" * LIMIT, blank=True), "")


def test_user_data_of_the_sovereign_cloud_names_its_own_hosts() -> None:
    found = text(stack(**SOVEREIGN), "web", VOLUME, "")
    assert "https://ssm.eusc-de-east-1.amazonaws.eu" in found
    assert "amazonaws.com" not in found


def test_a_setting_cannot_become_a_command() -> None:
    found = text(stack(), "web", DataVolume("", "/srv; rm -rf /", blank=True), "")
    assert "ART32_MOUNT='/srv; rm -rf /'" in found


def test_the_script_takes_no_credential_into_an_argument() -> None:
    body = SCRIPT.read_text()
    assert "--user" not in body
    for line in body.splitlines():
        assert "$token" not in line or line.lstrip().startswith("printf"), line


def test_the_sums_are_lines_of_sha256sum(tmp_path: Path) -> None:
    config = stack(**RELEASE)
    contents = {
        f"stacks/prod/web/{name}": body for name, body in host_files.files(config, "web").items()
    }
    assert {"stacks/prod/web/etc/nftables.conf", "stacks/prod/web/etc/art32/agent.toml"} <= set(
        contents
    )
    lines = sums(config, contents).splitlines()
    assert lines[-1] == "b" * 64 + "  shared/1.0/SHA256SUMS"
    for key, body in contents.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text(body)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet"],
        input="\n".join(lines[:-1]) + "\n",
        text=True,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
