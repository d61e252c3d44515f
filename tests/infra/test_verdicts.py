"""Who may do what in the backup bucket, header by header, decided from the program's own policies.

moto ignores the conditions of bucket policies, so these verdicts come from our own evaluator; what
moto can show is in `test_moto.py`, and AWS itself answers in the opt-in test of a real account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.authorization import Request, Value, decide
from infra.graph import Graph
from infra.plausible import Plausible
from infra.policies.identity import duty, policies
from infra.policies.storage import backup_buckets, bucket_policy
from tests.infra import cases

CASE = ("standard", "rds", "server", "none", "2", "1", "1", "lasting")
STACK = "staging"
ONCE: dict[str, Value] = {"s3:if-none-match": "*"}
TLS: dict[str, Value] = {
    "aws:SecureTransport": True,
    "s3:TlsVersion": "1.3",
    "aws:PrincipalIsAWSService": False,
}
INSTANCE = "AROAEXAMPLE:i-0123456789abcdef0"


class Store:
    """The backup bucket and the roles of one stack."""

    def __init__(self, graph: Graph) -> None:
        plausible = Plausible(graph)
        (bucket,) = backup_buckets(graph)
        self.arn = f"arn:aws:s3:::{plausible.text(str(bucket.get('bucket')))}"
        self.policy: Mapping[str, Any] = plausible.value(bucket_policy(graph, bucket))
        self.roles = {duty(one): one for one in graph.of("aws:iam:Role")}
        self.documents = {
            name: [plausible.value(one) for one in policies(graph, role)]
            for name, role in self.roles.items()
        }
        self.account = plausible.account

    def may(self, who: str, action: str, key: str = "", **context: Value) -> bool:
        named = {
            name.replace("__", ":").replace("_", "-"): value for name, value in context.items()
        }
        target = f"{self.arn}/{key}" if key else self.arn
        if who == "admin":
            principal, identity = f"arn:aws:iam::{self.account}:role/admin", [EVERYTHING]
        elif who == "stranger":
            principal, identity = "arn:aws:iam::999999999999:role/admin", [EVERYTHING]
        else:
            principal = f"arn:aws:iam::{self.account}:role/{self.roles[who].get('name')}"
            identity = self.documents[who]
        request = Request(principal, action, target, {**TLS, "aws:userid": INSTANCE, **named})
        return bool(decide(request, identity=identity, resource=[self.policy]))


EVERYTHING = {"Statement": {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}}
HEADERS: Mapping[str, dict[str, Value]] = {
    "once": ONCE,
    "plain": {},
    "lock-for-a-century": {**ONCE, "s3:object-lock-mode": "GOVERNANCE"},
    "own-key": {**ONCE, "s3:x-amz-server-side-encryption": "aws:kms"},
    "aes": {**ONCE, "s3:x-amz-server-side-encryption": "AES256"},
    "key-of-the-caller": {**ONCE, "s3:x-amz-server-side-encryption-customer-algorithm": "AES256"},
    "no-tls": {**ONCE, "aws:SecureTransport": False},
    "old-tls": {**ONCE, "s3:TlsVersion": "1.1"},
}
WRITERS = ("web", "mail", "dumper")
# identity, action, key, header, verdict
TABLE: list[tuple[str, str, str, str, bool]] = []
for who in WRITERS:
    TABLE += [
        (who, "s3:PutObject", f"{STACK}/{who}/database/1/key.pgp", "once", True),
        (who, "s3:PutObject", f"{STACK}/{who}/database/1/key.pgp", "aes", True),
        (who, "s3:PutObject", f"{STACK}/logs/{who}/1.pgp", "once", True),
        (who, "s3:PutObject", f"{STACK}/enroll/{INSTANCE}/key.asc", "once", True),
        (who, "s3:PutObject", f"{STACK}/probe/{who}/1", "once", True),
        (who, "s3:PutObject", f"{STACK}/enroll/AROAEXAMPLE:i-another/key.asc", "once", False),
        (who, "s3:PutObject", f"{STACK}/keeper/1", "once", False),
        (who, "s3:PutObject", f"{STACK}/pins/1", "once", False),
        (who, "s3:PutObject", f"{STACK}/evidence/drills/{who}/data/1.json", "once", False),
        (who, "s3:PutObject", f"production/{who}/1", "once", False),
        *(
            (who, "s3:PutObject", f"{STACK}/{who}/1", header, False)
            for header in HEADERS
            if header not in ("once", "aes")
        ),
        *(
            (who, action, f"{STACK}/{who}/1", "once", False)
            for action in (
                "s3:GetObject",
                "s3:GetObjectVersion",
                "s3:GetObjectAttributes",
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:PutObjectRetention",
                "s3:PutObjectLegalHold",
                "s3:BypassGovernanceRetention",
                "s3:PutObjectAcl",
                "s3:PutObjectTagging",
                "s3:AbortMultipartUpload",
                "s3:RestoreObject",
            )
        ),
        *(
            (who, action, "", "once", False)
            for action in (
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:ListBucketMultipartUploads",
                "s3:PutLifecycleConfiguration",
                "s3:PutBucketPolicy",
                "s3:PutBucketVersioning",
                "s3:PutBucketObjectLockConfiguration",
                "s3:DeleteBucketPolicy",
                "s3:DeleteBucket",
            )
        ),
    ]
for who in ("keeper", "restorer", "breakglass"):
    TABLE += [
        (who, "s3:GetObject", f"{STACK}/web/1", "plain", True),
        (who, "s3:GetObjectVersion", f"{STACK}/web/1", "plain", True),
        (who, "s3:GetObject", f"{STACK}/web/1", "no-tls", False),
        (who, "s3:GetObject", "production/web/1", "plain", False),
        (who, "s3:PutObject", f"{STACK}/web/1", "once", False),
        (who, "s3:PutObjectLegalHold", f"{STACK}/web/1", "plain", False),
    ]
TABLE += [
    ("keeper", "s3:DeleteObject", f"{STACK}/web/1", "plain", True),
    ("keeper", "s3:DeleteObjectVersion", f"{STACK}/web/1", "plain", True),
    ("keeper", "s3:BypassGovernanceRetention", f"{STACK}/web/1", "plain", False),
    ("keeper", "s3:PutObjectRetention", f"{STACK}/web/1", "plain", False),
    ("keeper", "s3:PutObject", f"{STACK}/pins/1", "once", True),
    ("keeper", "s3:PutObject", f"{STACK}/pins/1", "plain", False),
    ("restorer", "s3:DeleteObject", f"{STACK}/web/1", "plain", False),
    ("restorer", "s3:DeleteObjectVersion", f"{STACK}/web/1", "plain", False),
    ("restorer", "s3:BypassGovernanceRetention", f"{STACK}/web/1", "plain", False),
    ("restorer", "s3:PutObject", f"{STACK}/pins/1", "once", False),
    ("restorer", "s3:PutObject", f"{STACK}/evidence/drills/web/data/1.json", "once", True),
    ("restorer", "s3:PutObject", f"{STACK}/evidence/drills/web/data/1.json", "plain", False),
    ("restorer", "s3:PutObject", f"{STACK}/evidence/1.json", "once", False),
    ("breakglass", "s3:DeleteObjectVersion", f"{STACK}/web/1", "plain", True),
    ("breakglass", "s3:BypassGovernanceRetention", f"{STACK}/web/1", "plain", True),
    # whoever may do everything in the account is held by the bucket's own policy
    ("admin", "s3:PutObject", f"{STACK}/web/1", "plain", False),
    ("admin", "s3:PutObject", f"{STACK}/web/1", "lock-for-a-century", False),
    ("admin", "s3:BypassGovernanceRetention", f"{STACK}/web/1", "plain", False),
    ("admin", "s3:GetObject", f"{STACK}/web/1", "no-tls", False),
    ("stranger", "s3:GetObject", f"{STACK}/web/1", "plain", False),
    ("stranger", "s3:PutObject", f"{STACK}/web/1", "once", False),
]


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(cases.graph(CASE))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "-".join(map(str, row)))
def test_the_verdict_is_the_one_in_the_table(
    store: Store, row: tuple[str, str, str, str, bool]
) -> None:
    who, action, key, header, expected = row
    given = {name.replace("-", "_").replace(":", "__"): v for name, v in HEADERS[header].items()}
    assert store.may(who, action, key, **given) is expected


def test_listing_is_bound_to_the_stacks_own_prefix(store: Store) -> None:
    for who in ("keeper", "restorer", "breakglass"):
        assert store.may(who, "s3:ListBucket", s3__prefix=f"{STACK}/web/")
        assert not store.may(who, "s3:ListBucket", s3__prefix="production/")
        assert not store.may(who, "s3:ListBucket")


def test_on_call_runs_the_document_on_the_machines_of_the_stack_and_nothing_else() -> None:
    graph = cases.graph(CASE)
    plausible = Plausible(graph)
    (policy,) = [one for one in graph.of("aws:iam:Policy") if one.name == "run"]
    document = plausible.value(policy.document("policy"))
    here = f"{plausible.account}"

    def may(target: str, **tags: Value) -> bool:
        # Systems Manager's own key for the tags of a machine, and IAM's, which it may not send
        context: dict[str, Value] = {
            f"ssm:resourceTag/{name}": value for name, value in tags.items()
        }
        who = f"arn:aws:iam::{here}:user/on-call"
        request = Request(who, "ssm:SendCommand", target, context)
        return bool(decide(request, identity=[document]))

    instance = f"arn:aws:ec2:eu-central-1:{here}:instance/i-0123456789abcdef0"
    documents = f"arn:aws:ssm:eu-central-1:{here}:document"
    assert may(f"{documents}/art32-{STACK}-run")
    assert may(instance, Art32Stack=STACK)
    assert not may(instance, Art32Stack="production")
    assert not may(instance)
    assert not may(f"{documents}/art32-{STACK}-backup-role")
    assert not may("arn:aws:ssm:eu-central-1::document/AWS-RunShellScript")


def test_without_the_denials_a_thief_would_have_more(store: Store) -> None:
    """The table can fail: each denial of the bucket's policy decides at least one row."""
    statements = list(store.policy["Statement"])
    for left_out in statements:
        weaker = Store(cases.graph(CASE))
        weaker.policy = {"Statement": [one for one in statements if one is not left_out]}
        for who in WRITERS:
            # even a role that was given everything by mistake is held by the bucket
            weaker.documents[who] = store.documents[who]
        verdicts = {name: who_may_everything(weaker, actions) for name, actions in DECIDED.items()}
        changed = [name for name in DECIDED if verdicts[name] != EXPECTED[name]]
        assert changed, json.dumps(left_out)


DECIDED: Mapping[str, tuple[str, str, str, str]] = {
    "overwrite": ("admin", "s3:PutObject", f"{STACK}/x", "plain"),
    "lock": ("admin", "s3:PutObject", f"{STACK}/x", "lock-for-a-century"),
    "hold": ("admin", "s3:PutObjectLegalHold", f"{STACK}/x", "plain"),
    "bypass": ("admin", "s3:BypassGovernanceRetention", f"{STACK}/x", "plain"),
    "kms": ("admin", "s3:PutObject", f"{STACK}/x", "own-key"),
    "customer": ("admin", "s3:PutObject", f"{STACK}/x", "key-of-the-caller"),
    "writer": ("web", "s3:GetObject", f"{STACK}/x", "plain"),
    "stranger": ("stranger", "s3:GetObject", f"{STACK}/x", "plain"),
    "tls": ("admin", "s3:GetObject", f"{STACK}/x", "no-tls"),
    "old": ("admin", "s3:GetObject", f"{STACK}/x", "old-tls"),
}
EXPECTED = dict.fromkeys(DECIDED, False)


def who_may_everything(store: Store, row: tuple[str, str, str, str]) -> bool:
    """Return the verdict for an identity that was given everything by mistake."""
    who, action, key, header = row
    store.documents[who] = [EVERYTHING]
    given = {name.replace("-", "_").replace(":", "__"): v for name, v in HEADERS[header].items()}
    return store.may(who, action, key, **given)
