"""Runbooks of the stack: AWS is moto, Pulumi's engine a stand-in that runs the real program.

What takes seconds to start is forked from one interpreter; `infra/plan/test_command.py` starts it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.fixtures.ports import free_port
from tests.fixtures.pulumi import KNOWN
from tests.fixtures.repository import MakeRepository, text
from tests.fixtures.snapshots import SnapshotAccount, stack_file
from tests.runbooks.world import BIN, World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def stack(
    snapshot_account: SnapshotAccount,
    make_repository: MakeRepository,
    tmp_path: Path,
    graphs: Path,
    resident: list[str],
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
    run = f"export {KNOWN}={graphs}\nexec {shlex.join(resident)}"
    plan = "infra.plan.__main__ --folder ."
    world.tool("pulumi", f'{run} tests.fixtures.pulumi "$@"')
    world.tool("make", f'test "$1" = plan\n{run} {plan} --stack "${{2#STACK=}}"')
    world.shell("pulumi up --stack prod --yes", project)
    return world


def generations(world: World) -> tuple[list[str], str]:
    file = Path(world.values["PROJECT"]) / "Pulumi.prod.yaml"
    values = yaml.safe_load(file.read_text())["config"]
    return values.get("art32:dbGenerations", ["g1"]), values.get("art32:dbActive", "g1")


def databases(account: SnapshotAccount) -> set[str]:
    found = account.client("rds").describe_db_instances()["DBInstances"]
    return {one["DBInstanceIdentifier"] for one in found}


def test_a_database_comes_back_from_its_snapshot_and_the_old_one_stays(
    stack: World, snapshot_account: SnapshotAccount
) -> None:
    snapshot_account.database_snapshot("art32-prod-db-g1", "before-the-damage", days=0.5)
    stack.values |= {
        "SNAPSHOT": "before-the-damage",
        "COMPONENT": "db",
        "PLACE": "1",
        "GENERATION": "g2",
        "OLD_GENERATION": "g1",
    }
    done = stack.follow("snapshot-restore", "--dry-run")
    assert done.returncode == 0, done.stderr
    # the list has no first entry yet: the plan says so, and a person carries out its line
    stack.shell("pulumi config set --stack prod --path 'dbGenerations[0]' g1")
    stack.mends("snapshot-restore")
    assert databases(snapshot_account) == {"art32-prod-db-g1", "art32-prod-db-g2"}
    assert generations(stack) == (["g1", "g2=before-the-damage"], "g2")
    stack.undoes("snapshot-restore")
    assert generations(stack) == (["g1", "g2=before-the-damage"], "g1")
    assert not stack.verified("snapshot-restore")


def test_a_generation_is_retired_only_unprotected_and_aws_keeps_it(
    stack: World, snapshot_account: SnapshotAccount
) -> None:
    snapshot_account.database_snapshot("art32-prod-db-g1", "before", days=1)
    stack.shell("pulumi config set --stack prod --path 'dbGenerations[0]' g1")
    stack.shell("pulumi config set --stack prod --path 'dbGenerations[1]' g2=before")
    stack.shell("pulumi config set --stack prod dbActive g2")
    stack.shell("pulumi up --stack prod --yes")
    (urn,) = [
        line
        for line in stack.shell("pulumi stack --stack prod --show-urns").splitlines()
        if line.endswith("Instance::db-g1")
    ]
    before = (Path(stack.values["PROJECT"]) / "Pulumi.prod.yaml").read_text()
    stack.shell("pulumi config rm --stack prod --path 'dbGenerations[0]'")
    assert "protected" in stack.shell("pulumi up --stack prod --yes 2>&1 || true")
    (Path(stack.values["PROJECT"]) / "Pulumi.prod.yaml").write_text(before)
    stack.values |= {"URN": urn, "COMPONENT": "db", "OLD": "art32-prod-db-g1"}
    stack.mends("retire-generation")
    assert generations(stack) == (["g2=before"], "g2")
    assert "art32-prod-db-g1" in databases(snapshot_account)


def test_a_locked_stack_is_freed(stack: World) -> None:
    lock = Path(stack.values["PROJECT"]) / ".pulumi-prod.lock"
    lock.touch()
    stack.mends("pulumi-stuck")
    assert not lock.exists()
    stack.undoes("pulumi-stuck")
    assert stack.verified("pulumi-stuck")


@pytest.fixture
def restorer(stack: World, snapshot_account: SnapshotAccount, tmp_path: Path) -> Iterator[Path]:
    """The machine that the group would start and end, with a ledger of its own; yields that."""
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("no aws CLI is installed")
    stack.tool("aws", f'exec {aws} --endpoint-url {snapshot_account.endpoint} "$@"')
    project = Path(stack.values["PROJECT"])
    hook = project / ".pulumi-after-up"
    tags = "{Key=Art32Stack,Value=prod},{Key=Art32Duty,Value=restorer}"
    hook.write_text(
        f"""#!/bin/bash
set -eu
aws() {{ {stack.tools}/aws "$@"; }}
found=$(aws ec2 describe-instances --query 'Reservations[].Instances[].InstanceId' --output text \\
  --filters Name=tag:Art32Duty,Values=restorer Name=instance-state-name,Values=running)
if grep -q "restorerCount: '1'" {project}/Pulumi.prod.yaml; then
  test -n "$found" || aws ec2 run-instances --image-id ami-12c6146b --count 1 \\
    --tag-specifications "ResourceType=instance,Tags=[{tags}]" >/dev/null
elif test -n "$found"; then
  aws ec2 terminate-instances --instance-ids $found >/dev/null
fi
"""
    )
    hook.chmod(0o755)
    keeper = stack.site.config_file.read_text()
    state = tmp_path / "restorer-state"
    place = Path(tempfile.mkdtemp(prefix="art32-", dir="/tmp"))
    configuration = tmp_path / "restorer.toml"
    configuration.write_text(
        keeper.replace(str(stack.site.state), str(state))
        + f"\n[drill]\ndirectory = {text(place / 'drill')}\n"
    )
    stack.tool(
        "art32",
        f'case "$*" in "drill run"*|doctor*) export ART32_CONFIG={configuration} ;; esac\n'
        f'exec {BIN}/art32 "$@"',
    )
    yield state
    shutil.rmtree(place)


def test_a_drill_runs_on_a_machine_that_exists_for_it_alone(
    stack: World, restorer: Path, snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    (tmp_path / "data" / "file").write_bytes(b"content")
    stack.site.back_up("files")
    stack.values |= {"BACKUP_HOST": stack.site.host, "RESULTS": str(tmp_path / "results")}
    stack.mends("drill-on-aws")
    shown = stack.art32("drill", "status")
    assert "db1/files" in shown.stdout
    records = (stack.site.state / "ledger.jsonl").read_text()
    assert '"taken":true' in records
    assert '"taken":true' not in (restorer / "ledger.jsonl").read_text()
    found = snapshot_account.client("ec2").describe_instances()["Reservations"]
    assert [one["Instances"][0]["State"]["Name"] for one in found] == ["terminated"]
    stack.undoes("drill-on-aws")


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
