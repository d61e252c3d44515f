"""What `art32 snapshot restore-plan` prints, set as it stands and built by the real program."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from agent.cli import root
from infra import naming
from infra.config import parse_file
from infra.config.keys import keys
from infra.graph import Graph, Resource
from tests.fixtures.pulumi import graph_of, set_value
from tests.fixtures.snapshots import SnapshotAccount, stack_file


def plan(account: SnapshotAccount, project: Path, *arguments: str) -> Any:
    words = ("--output", "json", "snapshot", "restore-plan", "--stack", "prod")
    done = CliRunner().invoke(
        root, [*words, "--project", str(project), *arguments], env=account.environment
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return json.loads(done.stdout)["data"]


def configured(path: Path, commands: list[str]) -> None:
    """Do what the plan's `pulumi config set` lines say, and check that each names a real key."""
    for command in commands:
        words = shlex.split(command)
        if words[:3] != ["pulumi", "config", "set"]:
            continue
        assert words[3:5] == ["--stack", "prod"], command
        in_path = words[5] == "--path"
        key, value = words[6:] if in_path else words[5:]
        assert key.partition("[")[0] in keys(), command
        set_value(path, key, value, in_path=in_path)


def steps_of(plan: Any, words: str) -> list[str]:
    (found,) = [step["commands"] for step in plan["steps"] if words in step["title"]]
    return list(found)


def only(graph: Graph, kind: str) -> dict[str, Resource]:
    return {one.name: one for one in graph.of(kind)}


def test_a_managed_database_gets_a_second_generation_beside_the_first(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    path = stack_file(tmp_path, "prod")
    before = only(graph_of(path, "prod"), "aws:rds:Instance")
    database = snapshot_account.database(AllocatedStorage=80)
    snapshot_account.database_snapshot(database, "awsbackup:job-7", snapshot_type="awsbackup")
    made = plan(snapshot_account, tmp_path, "awsbackup:job-7")
    configured(path, steps_of(made, "add generation"))
    built = graph_of(path, "prod")
    after = only(built, "aws:rds:Instance")
    assert set(before) == {"db-g1"}
    assert set(after) == {"db-g1", "db-g2"}
    assert after["db-g2"].inputs["snapshotIdentifier"] == "awsbackup:job-7"
    assert after["db-g2"].inputs["allocatedStorage"] == 80
    assert after["db-g2"].protect
    assert "kmsKeyId" in after["db-g2"].ignore_changes
    assert after["db-g1"].get("snapshotIdentifier") is None
    changed = {"allocatedStorage", "maxAllocatedStorage"}
    assert {
        name
        for name, value in after["db-g1"].inputs.items()
        if before["db-g1"].inputs.get(name) != value
    } == changed
    # the old one is still what everybody uses, until the plan's own step says otherwise
    assert "db-g1" in address(built)
    configured(path, steps_of(made, "point the stack at it"))
    assert "db-g2" in address(graph_of(path, "prod"))
    configured(path, steps_of(made, "afterwards"))
    assert parse_file(path, "prod").restorer.count == 0


def address(graph: Graph) -> str:
    (found,) = [one for one in graph.of("aws:ssm:Parameter") if one.name == "database"]
    return str(found.inputs["value"])


def test_a_third_generation_comes_after_the_second_in_the_zone_that_is_left(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    path = stack_file(
        tmp_path,
        "prod",
        dbForm="server",
        dbGenerations=["g1", "g2=snap-0123456789abcdef0"],
        dbActive="g2",
    )
    snapshot = snapshot_account.volume_snapshot(snapshot_account.volume(generation="g2"))
    made = plan(snapshot_account, tmp_path, "--zone", "eu-central-1b")
    assert made["generation"] == "g3"
    configured(path, steps_of(made, "add generation"))
    volumes = only(graph_of(path, "prod"), "aws:ebs:Volume")
    assert set(volumes) == {"db-g1", "db-g2", "db-g3"}
    assert volumes["db-g3"].inputs["snapshotId"] == snapshot
    assert volumes["db-g3"].inputs["availabilityZone"] == "eu-central-1b"
    assert volumes["db-g3"].inputs["size"] == 50


def test_a_webservers_volume_and_a_mail_queue_are_restored_the_same_way(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    path = stack_file(
        tmp_path,
        "prod",
        webData="volume",
        webMinimum=1,
        webMaximum=1,
        mailForm="server",
        mailRelayHost="smtp.example.net",
    )
    snapshots = {
        component: snapshot_account.volume_snapshot(
            snapshot_account.volume(component=component, size=10)
        )
        for component in ("web", "mail")
    }
    for component, snapshot in snapshots.items():
        made = plan(snapshot_account, tmp_path, "--component", component)
        assert [step for step in made["steps"] if "SQL" in step["title"]] == []
        for step in made["steps"]:
            configured(path, step["commands"])
        volumes = only(graph_of(path, "prod"), "aws:ebs:Volume")
        assert volumes[f"{component}-g2"].inputs["snapshotId"] == snapshot
    config = parse_file(path, "prod")
    assert (config.web.active, config.mail.active) == ("g2", "g2")


def test_the_names_that_the_agent_says_are_those_that_the_program_gives(tmp_path: Path) -> None:
    from agent.snapshots.stack import load

    path = stack_file(tmp_path, "prod", backupCopyRegion="eu-west-1")
    stack, config, graph = load("prod", tmp_path), parse_file(path, "prod"), graph_of(path, "prod")
    assert stack.physical("db", "g1") == naming.prefixed(config, "db", "g1")
    assert stack.role("backup") == naming.role(config, "backup")
    vaults = {one.inputs["name"] for one in graph.of("aws:backup:Vault")}
    assert vaults == {stack.physical("snapshots"), stack.physical("snapshots-copy")}
    aliases = {one.inputs["name"] for one in graph.of("aws:kms:Alias")}
    assert f"alias/{stack.physical('data')}" in aliases
    tagged = [one for kind in ("rds:Instance", "ebs:Volume") for one in graph.of(f"aws:{kind}")]
    for one in tagged:
        assert (
            one.inputs["tags"].items()
            >= {
                "Art32Stack": "prod",
                "Art32Component": "database",
                "Art32Generation": "g1",
            }.items()
        )


def test_the_rehearsal_of_restores_stays_inside_the_stacks_own_network(tmp_path: Path) -> None:
    graph = graph_of(stack_file(tmp_path, "prod"), "prod")
    (one,) = graph.of("aws:backup:RestoreTestingSelection")
    overrides = one.inputs["restoreMetadataOverrides"]
    assert set(overrides) == {"dbSubnetGroupName", "vpcSecurityGroupIds"}
    (subnets,) = graph.of("aws:rds:SubnetGroup")
    assert subnets.name in overrides["dbSubnetGroupName"]
    assert len(json.loads(overrides["vpcSecurityGroupIds"])) == 1
