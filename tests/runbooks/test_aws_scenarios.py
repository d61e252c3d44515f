"""Runbooks of the stack: AWS is moto, Pulumi's engine a stand-in that runs the real program."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.fixtures.databases import free_port
from tests.fixtures.repository import MakeRepository, text
from tests.fixtures.snapshots import SnapshotAccount, stack_file
from tests.runbooks.world import World

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def stack(
    snapshot_account: SnapshotAccount, make_repository: MakeRepository, tmp_path: Path
) -> World:
    """The stack `prod`, applied once: its database is at AWS."""
    data = tmp_path / "data"
    data.mkdir()
    site = make_repository(f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(data)}')
    project = tmp_path / "project"
    project.mkdir()
    stack_file(project, "prod")
    settings = tmp_path / ".aws"
    settings.mkdir()
    backup = snapshot_account.environment["AWS_ENDPOINT_URL_BACKUP"]
    (settings / "config").write_text(
        "[profile test]\nregion = eu-central-1\nservices = here\n"
        f"endpoint_url = {snapshot_account.endpoint}\n"
        f"[services here]\nbackup =\n  endpoint_url = {backup}\n"
    )
    (settings / "credentials").write_text(
        "[test]\naws_access_key_id = none\naws_secret_access_key = none\n"
    )
    values = {"STACK": "prod", "PROJECT": str(project), "PULUMI_OPTIONS": "--yes"}
    world = World(tmp_path, site, values, environment={"AWS_PROFILE": "test"})
    run = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -W ignore -m"
    world.tool("pulumi", f'{run} tests.fixtures.pulumi "$@"')
    world.tool("make", f'test "$1" = plan\n{run} infra.plan --folder . --stack "${{2#STACK=}}"')
    world.shell("pulumi up --stack prod --yes", project)
    return world


def test_a_locked_stack_is_freed(stack: World) -> None:
    lock = Path(stack.values["PROJECT"]) / ".pulumi-prod.lock"
    lock.touch()
    stack.mends("pulumi-stuck")
    assert not lock.exists()
    stack.undoes("pulumi-stuck")
    assert stack.verified("pulumi-stuck")


def test_a_webserver_that_is_gone_is_started_by_the_next_update(stack: World) -> None:
    """What auto scaling would start, a hook of the stand-in starts: a real server."""
    port, project = free_port(), Path(stack.values["PROJECT"])
    hook, number = project / ".pulumi-after-up", project / "pid"
    hook.write_text(
        f"#!/bin/bash\n{sys.executable} -m http.server --bind 127.0.0.1 {port} "
        f">/dev/null 2>&1 &\necho $! >{number}\n"
        f"until (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done\n"
    )
    hook.chmod(0o755)
    stack.values["URL"] = f"http://127.0.0.1:{port}/"
    try:
        stack.mends("web-host-lost")
    finally:
        if number.exists():
            os.kill(int(number.read_text()), signal.SIGTERM)
