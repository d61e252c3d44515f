"""Every policy document, looked at by parliament, a linter of policies: known actions, resources
that fit them, condition keys that exist."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.graph import Graph
from infra.plausible import Plausible
from infra.policies.identity import all_policies
from infra.policies.keys import resource_policies
from tests.infra import cases

PYTHON = Path(__file__).parent.parent.parent / ".venv-checkov" / "bin" / "python"
LINT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import parliament
for document in json.load(sys.stdin):
    found = parliament.analyze_policy_string(json.dumps(document)).findings
    print(json.dumps([f"{one.issue} {one.detail}" for one in found]))
"""
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="no .venv-checkov: `scripts/environment checkov` makes it"
)

# finding, where, why: parliament's list of actions is older than the service, or it has no context
ACCEPTED: dict[str, str] = {
    "MISMATCHED_TYPE Type mismatch: ArnLike": "as CloudWatch Logs' own guide writes it",
    "MISMATCHED_TYPE Type mismatch: s3:TlsVersion": "as S3's own guide writes it",
    "RESOURCE_MISMATCH [{'action': 'ec2:AttachVolume'": "the volume and the instance have a "
    "statement each, with conditions of their own",
    "RESOURCE_MISMATCH [{'action': 'ssm:SendCommand'": "the document and the machines have a "
    "statement each, as Systems Manager's own guide writes it",
    "RESOURCE_STAR ['backup:DeleteRecoveryPoint'": "bound by the tag of the stack",
    "RESOURCE_STAR ['ssm:DescribeDocument'": "documents of Amazon and associations of any name",
    "UNKNOWN_CONDITION_FOR_ACTION Unknown condition kms:EncryptionContext": "one statement for "
    "five actions; describing a key has no context and stays refused",
    "UNKNOWN_CONDITION_FOR_ACTION Unknown condition s3:TlsVersion": "`s3:*` has actions that are "
    "not S3's own requests",
}
GRAPHS = (
    ("ha", "rds", "ses", "none", "3", "1", "1", "lasting"),
    ("small", "server", "server", "volume", "3", "1", "0", "lasting"),
)


def documents(graph: Graph) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield every document without markers, its place, and whether it is an identity's."""
    plausible = Plausible(graph)
    for one, document in all_policies(graph):
        yield f"{one.source} {one}", plausible.value(document), True
    for one, document in resource_policies(graph):
        yield f"{one.source} {one}", plausible.value(document), False
    for one in graph.of("aws:ec2:VpcEndpoint"):
        if one.document("policy"):
            yield f"{one.source} {one}", plausible.value(one.document("policy")), False


def lintable(document: dict[str, Any], identity: bool) -> dict[str, Any]:
    """Return a document as parliament can read it.

    A resource's own policy has principals, which parliament does not know; its statements are
    looked at without them.
    """
    if identity:
        return document
    kept = [
        {key: value for key, value in one.items() if key not in ("Principal", "NotPrincipal")}
        for one in document["Statement"]
    ]
    return {"Version": "2012-10-17", "Statement": [{"Resource": "*", **one} for one in kept]}


def complaints(documents: list[dict[str, Any]]) -> list[set[str]]:
    """Return what parliament says of each document."""
    done = subprocess.run(
        [str(PYTHON), "-c", LINT],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


def test_parliament_finds_nothing_but_what_is_accepted() -> None:
    graphs = [*map(cases.graph, GRAPHS), cases.bootstrap()]
    found = [
        (place, lintable(document, identity))
        for graph in graphs
        for place, document, identity in documents(graph)
    ]
    told: dict[str, set[str]] = {}
    for (place, _), said in zip(found, complaints([one for _, one in found]), strict=True):
        for complaint in said:
            if complaint.startswith("RESOURCE_STAR") and "iam:RolePolicy" not in place:
                continue  # in a resource's own policy a star is the resource itself
            told.setdefault(complaint, set()).add(place)
    assert len(found) > 40
    open_ = {c: sorted(p) for c, p in told.items() if not any(c.startswith(a) for a in ACCEPTED)}
    assert open_ == {}
    assert [one for one in ACCEPTED if not any(c.startswith(one) for c in told)] == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Action": "s3:PutObjekt", "Resource": "*"}, "UNKNOWN_ACTION"),
        ({"Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket"}, "RESOURCE_MISMATCH"),
        (
            {
                "Action": "s3:PutObject",
                "Resource": "*",
                "Condition": {"StringEquals": {"s3:nonsense": "1"}},
            },
            "UNKNOWN_CONDITION_FOR_ACTION",
        ),
    ],
)
def test_parliament_sees_what_is_wrong(statement: dict[str, Any], expected: str) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    (said,) = complaints([document])
    assert any(one.startswith(expected) for one in said)
