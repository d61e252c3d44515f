"""What each identity really gets, from a store that enforces IAM: moto, filled by Terraform.

moto does not evaluate the conditions of bucket policies (a denial without its condition would deny
everything), so the bucket's conditional statements are left out here and decided in
`test_verdicts.py`; the default lock, the roles and the unconditional statements are real.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.graph import Graph
from infra.terraform import configuration
from tests.fixtures.aws import Cloud
from tests.fixtures.terraform import Terraform
from tests.infra import cases

CASE = ("standard", "rds", "ses", "none", "2", "1", "1", "lasting")
STACK = "staging"
SUBSET = frozenset(
    {
        *("aws_s3_bucket", "aws_s3_bucket_policy", "aws_s3_bucket_versioning"),
        *("aws_s3_bucket_object_lock_configuration", "aws_s3_bucket_public_access_block"),
        *("aws_s3_bucket_ownership_controls", "aws_ebs_volume"),
        "aws_s3_bucket_server_side_encryption_configuration",
        *("aws_iam_role", "aws_iam_role_policy", "aws_iam_instance_profile"),
        *("aws_backup_vault", "aws_backup_vault_lock_configuration"),
    }
)

pytestmark = pytest.mark.slow


def without_conditions(graph: Graph) -> Graph:
    """Return the graph with bucket policies that hold the unconditional statements alone."""
    for one in graph.of("aws:s3:BucketPolicy"):
        document = one.document("policy")
        kept = [each for each in document["Statement"] if "Condition" not in each]
        # an empty policy is refused, so what nobody does stands in for nothing
        kept = kept or [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutBucketWebsite",
                "Resource": document["Statement"][0]["Resource"],
            }
        ]
        graph = graph.with_changes(
            one.urn, inputs={**one.inputs, "policy": json.dumps({**document, "Statement": kept})}
        )
    return graph


@dataclass(frozen=True)
class Stack:
    """What was applied: the bucket's name and a way to become each of the roles."""

    cloud: Cloud
    bucket: str
    graph: Graph

    def become(self, role: str) -> Any:
        """Return an S3 client with a role's credentials."""
        (found,) = [one for one in self.graph.of("aws:iam:Role") if one.name == role]
        self.cloud.enforce(False)
        token = self.cloud.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{cases.ACCOUNT}:role/{found.get('name')}", RoleSessionName="test"
        )["Credentials"]
        self.cloud.enforce(True)
        return self.cloud.client("s3", token)

    def admin(self, service: str = "s3") -> Any:
        self.cloud.enforce(False)
        return self.cloud.client(service)


@pytest.fixture(scope="module")
def stack(terraform: Terraform, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    graph = without_conditions(cases.graph(CASE))
    made = configuration(graph, endpoint=cloud.endpoint, only=SUBSET)
    folder: Path = terraform.prepare(tmp_path_factory.mktemp("moto"), made)
    terraform.run(folder, "apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=16")
    print("\nmoto: bucket policies without their conditional statements")
    names = [
        one["Name"]
        for one in cloud.client("s3").list_buckets()["Buckets"]
        if "backups" in one["Name"]
    ]
    assert len(names) == 1
    return Stack(cloud, names[0], graph)


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """Return the code with which a call is refused; fail when it is not."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    code: str = caught.value.response["Error"]["Code"]
    return code


def test_a_writer_puts_below_its_own_prefix_and_does_nothing_else(stack: Stack) -> None:
    client, bucket = stack.become("web"), stack.bucket
    own = f"{STACK}/web/files/1/key.pgp"
    client.put_object(Bucket=bucket, Key=own, Body=b"x")
    denied = "AccessDenied"
    assert refused(client.put_object, Bucket=bucket, Key=f"{STACK}/dumper/1", Body=b"x") == denied
    assert refused(client.get_object, Bucket=bucket, Key=own) == denied
    assert refused(client.delete_object, Bucket=bucket, Key=own) == denied
    assert refused(client.list_objects_v2, Bucket=bucket) == denied
    assert refused(client.list_object_versions, Bucket=bucket) == denied
    assert refused(client.head_object, Bucket=bucket, Key=own) in ("403", denied)
    lifecycle = {"Rules": [{"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}
    assert (
        refused(
            client.put_bucket_lifecycle_configuration,
            Bucket=bucket,
            LifecycleConfiguration=lifecycle,
        )
        == denied
    )
    versioning = {"Status": "Suspended"}
    assert (
        refused(client.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=versioning)
        == denied
    )


def test_what_a_writer_puts_is_locked_for_thirty_days_without_its_asking(stack: Stack) -> None:
    key = f"{STACK}/web/files/2/key.pgp"
    put = stack.become("web").put_object(Bucket=stack.bucket, Key=key, Body=b"x")
    head = stack.admin().head_object(Bucket=stack.bucket, Key=key, VersionId=put["VersionId"])
    assert head["ObjectLockMode"] == "GOVERNANCE"
    left = head["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30, hours=1)


def test_nobody_deletes_a_locked_version_without_lifting_the_lock(stack: Stack) -> None:
    key = f"{STACK}/web/files/3/key.pgp"
    version = stack.become("web").put_object(Bucket=stack.bucket, Key=key, Body=b"x")["VersionId"]
    keeper = stack.become("keeper")
    target = {"Bucket": stack.bucket, "Key": key}
    assert refused(keeper.delete_object, **target, VersionId=version) == "AccessDenied"
    # a plain deletion hides it behind a marker, and what is hidden is still there
    keeper.delete_object(**target)
    assert keeper.get_object(**target, VersionId=version)["Body"].read() == b"x"
    admin = stack.admin()
    assert refused(admin.delete_object, **target, VersionId=version) == "AccessDenied"
    admin.delete_object(**target, VersionId=version, BypassGovernanceRetention=True)
    assert refused(admin.get_object, **target, VersionId=version) in ("NoSuchVersion", "NoSuchKey")


def test_a_restorer_reads_and_changes_nothing(stack: Stack) -> None:
    key = f"{STACK}/web/files/4/key.pgp"
    version = stack.become("web").put_object(Bucket=stack.bucket, Key=key, Body=b"x")["VersionId"]
    restorer, target = stack.become("restorer"), {"Bucket": stack.bucket, "Key": key}
    assert restorer.get_object(**target)["Body"].read() == b"x"
    listed = restorer.list_object_versions(Bucket=stack.bucket, Prefix=f"{STACK}/web/")
    assert version in [one["VersionId"] for one in listed["Versions"]]
    assert refused(restorer.put_object, **target, Body=b"y") == "AccessDenied"
    assert refused(restorer.delete_object, **target) == "AccessDenied"
    assert refused(restorer.delete_object, **target, VersionId=version) == "AccessDenied"


def test_the_bucket_is_what_the_program_says(stack: Stack) -> None:
    admin = stack.admin()
    lock = admin.get_object_lock_configuration(Bucket=stack.bucket)["ObjectLockConfiguration"]
    retention = lock["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("GOVERNANCE", 30)
    assert admin.get_bucket_versioning(Bucket=stack.bucket)["Status"] == "Enabled"
    block = admin.get_public_access_block(Bucket=stack.bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    encryption = admin.get_bucket_encryption(Bucket=stack.bucket)
    (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
