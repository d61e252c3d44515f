"""The program as a whole, under capture: what is kept, what a generation adds, what is told."""

from __future__ import annotations

import gc
import inspect
import json
import re
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pulumi
import pytest

import infra
from infra.bootstrap.build import build as build_account
from infra.bootstrap.config import parse as parse_account
from infra.build import build
from infra.capture import capture
from infra.component import Component
from infra.config import ConfigError, parse_file
from infra.graph import Graph, Resource
from tests.fixtures.stacks import HA, MAIL_SERVER, SOVEREIGN, stack, values

ROOT = Path(infra.__file__).parent.parent
SERVERS: dict[str, object] = {
    **MAIL_SERVER,
    "dbForm": "server",
    "webData": "volume",
    "webMaximum": 1,
}
DATA = {
    "aws:s3/bucket:Bucket",
    "aws:rds/instance:Instance",
    "aws:ebs/volume:Volume",
    "aws:kms/key:Key",
    "aws:backup/vault:Vault",
    "aws:secretsmanager/secret:Secret",
}
ONCE = re.compile(
    r"guardduty|securityhub|accessanalyzer|cfg/|ebs/encryptionByDefault|accountPasswordPolicy"
    r"|accountPublicAccessBlock|instanceMetadataDefaults|imageBlockPublicAccess"
)


@cache
def _graph(name: str, text: str) -> Graph:
    config = stack(name, **json.loads(text))
    return capture(lambda: build(config), stack=name)


def graph(name: str = "prod", /, **changes: object) -> Graph:
    return _graph(name, json.dumps(changes, sort_keys=True))


def data(found: Graph) -> list[Resource]:
    return [one for one in found.resources if one.type in DATA]


@pytest.mark.parametrize("changes", [{}, SERVERS, HA], ids=["services", "servers", "ha"])
def test_what_holds_data_is_protected_and_retained(changes: dict[str, object]) -> None:
    found = data(graph(**changes))
    assert len(found) > 5
    assert [one.urn for one in found if not (one.protect and one.retain)] == []


@pytest.mark.parametrize("changes", [{}, SERVERS], ids=["services", "servers"])
def test_an_ephemeral_stack_can_be_destroyed(changes: dict[str, object]) -> None:
    found = graph("test", ephemeral=True, **changes)
    assert [one.urn for one in found.resources if one.protect or one.retain] == []
    assert not any("vaultLock" in one.type for one in found.resources)
    for one in data(found):
        assert one.inputs.get("forceDestroy", True) is True
        assert one.inputs.get("deletionProtection", False) is False
        assert one.inputs.get("skipFinalSnapshot", True) is True
        assert one.inputs.get("deletionWindowInDays", 7) == 7


@pytest.mark.parametrize(
    ("area", "changes", "snapshot"),
    [
        ("db", {}, "rds:app-2026-11-23-03-15"),
        ("db", SERVERS, "snap-0123456789abcdef0"),
        ("mail", SERVERS, "snap-0123456789abcdef0"),
        ("web", SERVERS, "snap-0123456789abcdef0"),
    ],
)
def test_a_new_generation_is_added_and_touches_nothing_that_holds_data(
    area: str, changes: dict[str, object], snapshot: str
) -> None:
    before = graph(**changes)
    added: dict[str, object] = {
        f"{area}Generations": ["g1", f"g2={snapshot}"],
        f"{area}Active": "g2",
    }
    after = graph(**changes, **added)
    old = {one.urn: one for one in before.resources}
    new = {one.urn: one for one in after.resources}
    assert set(old) <= set(new)
    for one in data(before):
        assert new[one.urn].inputs == one.inputs
    fresh = [one for one in data(after) if one.urn not in old]
    assert [one.name for one in fresh] == [f"{area}-g2"]
    assert snapshot in fresh[0].inputs.values()


def test_the_address_that_applications_read_follows_the_active_generation() -> None:
    two: dict[str, object] = {"dbGenerations": ["g1", "g2=rds:app-2026-11-23-03-15"]}
    for active in ("g1", "g2"):
        found = graph(**two, dbActive=active)
        (parameter,) = [
            one
            for one in found.resources
            if one.inputs.get("name") == "/art32/prod/shared/database"
        ]
        assert f"db-{active}::" in str(parameter.inputs["value"])


def test_no_stack_owns_what_an_account_has_once() -> None:
    assert [one.type for one in graph(**HA).resources if ONCE.search(one.type)] == []


def account(**choices: str) -> Graph:
    config = parse_account({"accountId": "123456789012", "region": "eu-central-1", **choices})
    return capture(lambda: build_account(config), project="art32-account", stack="account")


def test_the_account_keeps_what_it_has_once() -> None:
    found = account(domain="example.org")
    once = [one for one in found.resources if ONCE.search(one.type)]
    assert len(once) > 10
    assert [one.urn for one in once if not (one.protect and one.retain)] == []
    assert found.outputs["secrets_provider"] == "awskms://alias/art32-state?region=eu-central-1"
    assert found.invokes == ()


def test_the_account_leaves_alone_what_is_skipped() -> None:
    skipped = dict.fromkeys(
        ("accessAnalyzer", "defaults", "guardDuty", "recorder", "securityHub", "sessions"), "skip"
    )
    found = account(**skipped)
    assert [one.type for one in found.resources if ONCE.search(one.type)] == []
    assert any("art32-state-" in str(one.inputs.get("bucket")) for one in found.resources)


def test_a_wrong_account_configuration_tells_all_mistakes() -> None:
    with pytest.raises(ConfigError, match="3 mistakes") as caught:
        parse_account(
            {"accountId": "12", "guardDuty": "adopt", "regio": "x", "region": "eu-west-1"}
        )
    assert "hint: pulumi config set guardDuty skip" in str(caught.value)


def test_the_program_asks_nobody_and_needs_no_default_provider() -> None:
    for found in (graph(), graph(**SERVERS), graph(**HA)):
        assert found.invokes == ()
        assert [
            one.urn
            for one in found.resources
            if one.custom and not one.provider and not one.type.startswith("pulumi:providers:")
        ] == []


def test_the_sovereign_cloud_renders_without_a_name_of_the_commercial_one() -> None:
    text = json.dumps([dict(one.inputs) for one in graph(**SOVEREIGN).resources])
    assert set(re.findall(r"arn:aws:|amazonaws\.com|\.amazonses\.com", text)) == set()
    assert "arn:aws-eusc:" in text


@pytest.fixture
def collector() -> Iterator[None]:
    """Switch the garbage collector on again, which the program switches off."""
    yield
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_the_file_that_pulumi_runs_builds_what_build_builds() -> None:
    told = {
        f"art32:{name}": json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in values().items()
    }
    main = ROOT / "infra" / "__main__.py"
    found = capture(
        lambda: runpy.run_path(str(main), run_name="__main__") and None,
        stack="prod",
        config=told,
    )
    assert [one.urn for one in found.resources] == [one.urn for one in graph().resources]
    assert found.outputs["backup_bucket"] == "art32-prod-backups-123456789012-eu-central-1"
    assert len(main.read_text().splitlines()) < 80


@pytest.mark.usefixtures("collector")
def test_a_wrong_configuration_ends_in_a_list_and_not_in_a_traceback() -> None:
    main = ROOT / "infra" / "__main__.py"
    with pytest.raises(pulumi.RunError, match="mistakes\n") as caught:
        capture(
            lambda: runpy.run_path(str(main), run_name="__main__") and None,
            stack="prod",
            config={"art32:profile": "tiny"},
        )
    assert "`profile` is none of `small`, `standard` or `ha`" in str(caught.value)


@pytest.mark.parametrize("profile", ["small", "standard", "ha"])
def test_the_example_of_a_profile_is_a_valid_configuration(profile: str) -> None:
    config = parse_file(ROOT / f"Pulumi.{profile}.yaml.example", "prod")
    assert config.profile == profile
    # a runbook adds to these lists by place, and Pulumi adds to no list that is not there
    assert "art32:dbGenerations: [g1]" in (ROOT / f"Pulumi.{profile}.yaml.example").read_text()


def test_every_component_says_what_it_protects_against() -> None:
    kinds = Component.__subclasses__()
    assert len(kinds) > 20
    assert [kind.__name__ for kind in kinds if "Protects against" not in (kind.__doc__ or "")] == []
    files = [inspect.getfile(kind) for kind in kinds]
    assert len(files) == len(set(files)), "one file, one component"


def test_every_alarm_names_a_runbook_that_exists() -> None:
    named: set[str] = set()
    for found in (graph(), graph(**SERVERS)):
        for one in found.resources:
            if one.type.endswith((":MetricAlarm", ":EventRule")):
                runbook = one.inputs["tags"]["Runbook"]
                words = one.inputs.get("alarmDescription") or one.inputs["description"]
                assert f"runbook: {runbook}" in words
                named.add(runbook)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / "runbooks" / f"{name}.md").exists()] == []


def test_mta_sts_is_served_only_when_asked_for_and_begins_by_testing() -> None:
    assert not any("mta-sts" in one.name for one in graph().resources)
    found = graph(mailInboundMx=["mx1.example.net", "mx2.example.net"])
    (rule,) = [one for one in found.resources if one.type == "aws:lb/listenerRule:ListenerRule"]
    assert rule.inputs["actions"][0]["fixedResponse"]["messageBody"] == (
        "version: STSv1\r\nmode: testing\r\nmx: mx1.example.net\r\nmx: mx2.example.net\r\n"
        "max_age: 86400\r\n"
    )


def test_a_document_of_the_dumper_takes_no_password_into_an_argument() -> None:
    documents = [one for one in graph().resources if one.type == "aws:ssm/document:Document"]
    (setup,) = [one for one in documents if one.name == "dumper-setup"]
    lines = json.loads(setup.inputs["content"])["mainSteps"][0]["inputs"]["runCommand"]
    assert lines[0] == "#!/bin/bash"
    assert not any("PGPASSWORD" in line or "--password" in line for line in lines)
