from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.graph import Graph
from infra.plan.comparison import Comparison, compare_file, compare_text
from infra.plan.problem import PlanError
from infra.plan.stack import redacted
from tests.infra.plan.graphs import graph, marker, resource, urn

FILE = Path("saved.json")


def against(new: Graph, old: Graph) -> Comparison:
    return compare_text(new, old.to_json(), FILE)


def actions(found: Comparison) -> dict[str, str]:
    return {one.name: one.action for one in found.changes}


def step(op: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "urn": urn(kind, name), **more}


def preview(new: Graph, *steps: dict[str, Any]) -> Comparison:
    text = json.dumps({"config": {}, "steps": list(steps), "changeSummary": {}})
    return compare_text(new, text, Path("preview.json"))


def test_the_same_design_changes_nothing() -> None:
    design = graph(resource("Bucket"), resource("Role"))
    found = against(design, design)
    assert (found.changes, found.unchanged) == ((), 2)


def test_what_is_new_is_created_and_what_is_missing_is_destroyed() -> None:
    found = against(graph(resource("Role", "new")), graph(resource("Bucket", "old")))
    assert actions(found) == {"new": "create", "old": "destroy"}
    assert [one.name for one in found.changes if one.dangerous] == ["old"]
    assert found.changes[0].name == "old"
    assert found.unchanged == 0


def test_what_is_retained_is_dropped_and_not_destroyed() -> None:
    found = against(graph(), graph(resource("Bucket", "old", retain=True)))
    assert actions(found) == {"old": "keep"}
    assert not found.changes[0].dangerous


def test_what_is_protected_is_refused_whether_it_is_retained_or_not() -> None:
    for retain in (True, False):
        found = against(graph(), graph(resource("Bucket", protect=True, retain=retain)))
        assert (found.changes[0].action, found.changes[0].refused) == ("destroy", True)


def test_a_property_that_aws_cannot_change_replaces() -> None:
    old = resource("Database", inputs={"storageEncrypted": False, "instanceClass": "a"})
    new = resource("Database", inputs={"storageEncrypted": True, "instanceClass": "a"})
    (change,) = against(graph(new), graph(old)).changes
    assert (change.action, change.properties) == (
        "replace",
        ("storageEncrypted: false \N{RIGHTWARDS ARROW} true",),
    )
    assert change.dangerous


def test_any_other_change_is_left_open() -> None:
    old = resource("Database", inputs={"instanceClass": "a"})
    new = resource("Database", inputs={"instanceClass": "b"})
    found = against(graph(new), graph(old))
    assert [(one.action, one.properties) for one in found.changes] == [
        ("change", ("instanceClass: a \N{RIGHTWARDS ARROW} b",))
    ]
    assert found.unchanged == 0


def test_a_protected_resource_is_not_replaced_but_refused() -> None:
    old = resource("Bucket", inputs={"bucket": "a"}, protect=True)
    (change,) = against(graph(resource("Bucket", inputs={"bucket": "b"})), graph(old)).changes
    assert (change.action, change.refused) == ("replace", True)


def test_no_secret_no_marker_and_no_long_value_is_shown() -> None:
    old = resource("Database", inputs={"password": "hunter1", "kmsKeyId": "x", "tags": {}})
    new = resource(
        "Database",
        inputs={"password": "hunter2", "kmsKeyId": marker("Key", "k"), "tags": {"a": "b" * 50}},
        secrets=("password",),
    )
    (change,) = against(graph(new), graph(old)).changes
    assert change.properties == ("kmsKeyId", "password", "tags")


def test_what_pulumi_would_encrypt_is_not_saved() -> None:
    inputs = {"password": "hunter2", "engine": "postgres"}
    design = redacted(graph(resource("Database", inputs=inputs, secrets=("password",))))
    assert "hunter2" not in design.to_json()
    assert against(design, design).changes == ()


def test_what_is_ignored_is_no_change() -> None:
    old = resource("Instance", inputs={"ami": "a", "rootBlockDevice": {"volumeSize": 1}})
    new = resource(
        "Instance",
        inputs={"ami": "b", "rootBlockDevice": {"volumeSize": 2}},
        ignore_changes=("ami", "rootBlockDevice.volumeSize"),
    )
    assert against(graph(new), graph(old)).changes == ()


def test_a_renamed_resource_is_the_same_when_an_alias_says_so() -> None:
    new = resource("Bucket", "new", aliases=(urn("Bucket", "old"),))
    assert against(graph(new), graph(resource("Bucket", "old"))).changes == ()


def test_the_engine_s_preview_is_believed() -> None:
    design = graph(resource("Database"), resource("Role"), resource("Bucket", "new"))
    found = preview(
        design,
        step("create-replacement", "Database", "main", replaceReasons=["storageEncrypted"]),
        step("replace", "Database", "main", replaceReasons=["storageEncrypted"]),
        step("delete-replaced", "Database", "main", replaceReasons=["storageEncrypted"]),
        step("same", "Role", "main"),
        step("create", "Bucket", "new"),
        step("delete", "Queue", "old"),
    )
    assert actions(found) == {"main": "replace", "new": "create", "old": "destroy"}
    assert found.unchanged == 1
    assert found.remarks == ()
    assert [one.name for one in found.changes if one.dangerous] == ["old", "main"]


@pytest.mark.parametrize(
    ("old", "action", "refused"),
    [
        ({"protect": True, "retainOnDelete": True}, "destroy", True),
        ({"retainOnDelete": True}, "keep", False),
        ({}, "destroy", False),
    ],
)
def test_the_state_says_what_a_deletion_means(
    old: dict[str, bool], action: str, refused: bool
) -> None:
    (change,) = preview(graph(), step("delete", "Bucket", "old", oldState=old)).changes
    assert (change.action, change.refused) == (action, refused)


def test_a_preview_of_another_version_of_the_program_is_noticed() -> None:
    found = preview(graph(resource("Role"), resource("Bucket")), step("same", "Role", "main"))
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith("1 resources are in this design and not in the preview")


def test_no_value_of_a_state_gets_into_the_comparison() -> None:
    secret = {"inputs": {"password": "hunter2"}, "outputs": {"token": "hunter2"}}
    more = {"oldState": secret, "newState": secret, "diffReasons": ["password"]}
    found = preview(graph(resource("Database")), step("update", "Database", "main", **more))
    assert found.changes[0].properties == ("password",)
    assert "hunter2" not in repr(found)


def sentence(new: Graph, text: str) -> str:
    with pytest.raises(PlanError) as caught:
        compare_text(new, text, FILE)
    assert caught.value.hint
    assert "\n" not in caught.value.sentence
    return caught.value.sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '"x"', "[" * 100_000, '{"a": 1}'])
def test_what_is_no_comparison_is_refused_in_one_sentence(text: str) -> None:
    assert sentence(graph(), text) == (
        "`saved.json` is neither a saved graph nor the output of `pulumi preview --json`"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"resources": [{}]},
        {"resources": [5]},
        {"resources": 7},
        {"surprise": 1},
    ],
)
def test_a_graph_of_another_version_or_a_damaged_one_is_refused(change: dict[str, Any]) -> None:
    data = {**json.loads(graph(resource("Role")).to_json()), **change}
    assert "is a saved graph of another version" in sentence(graph(), json.dumps(data))


def test_another_stack_and_another_program_are_refused() -> None:
    other = graph(resource("Role"), stack="staging")
    assert "is about stack `staging` of `art32`" in sentence(graph(), other.to_json())
    strange = {"op": "same", "urn": "urn:pulumi:prod::shop::aws:s3/bucket:Bucket::x"}
    assert "is about stack `prod` of `shop`" in sentence(graph(), json.dumps({"steps": [strange]}))


@pytest.mark.parametrize(
    "steps", [[5], [{}], [{"op": "explode", "urn": urn("Role", "x")}], [{"op": "same", "urn": 3}]]
)
def test_steps_that_nobody_knows_are_refused(steps: list[Any]) -> None:
    assert "has a step that this version does not know" in sentence(
        graph(), json.dumps({"steps": steps})
    )


@pytest.mark.parametrize("steps", [[], None, {}])
def test_a_preview_without_steps_is_refused(steps: Any) -> None:
    assert sentence(graph(), json.dumps({"steps": steps})) == "`saved.json` names no resource"


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: no such file"):
        compare_file(graph(), tmp_path / "missing.json")
    with pytest.raises(PlanError, match="cannot be read: is a directory"):
        compare_file(graph(), tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="is neither"):
        compare_file(graph(), tmp_path / "binary")
