"""A real account, on request only: `ART32_REAL_STACK=name make test-all TESTS=tests/infra`.

Wants the Pulumi CLI, AWS credentials of a test account and a `Pulumi.<name>.yaml` with
`art32:ephemeral: true`; it deploys that stack, asks S3 itself what our evaluator and moto only
conclude, and destroys it again. It costs what an hour of the stack costs and takes some 40 minutes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.config import parse_file

STACK = os.environ.get("ART32_REAL_STACK", "")
ROOT = Path(__file__).parent.parent.parent

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not STACK, reason="no ART32_REAL_STACK: AWS itself was not asked"),
]


@pytest.fixture(scope="module")
def outputs() -> Iterator[dict[str, Any]]:
    """Deploy the stack, yield its outputs, destroy it."""
    if shutil.which("pulumi") is None:
        pytest.fail("ART32_REAL_STACK is set, but there is no `pulumi` on the path")
    from pulumi import automation

    config = parse_file(ROOT / f"Pulumi.{STACK}.yaml", STACK)
    if not config.ephemeral:
        pytest.fail(f"`{STACK}` is not `ephemeral`: this test destroys what it makes")
    stack = automation.create_or_select_stack(stack_name=STACK, work_dir=str(ROOT))
    try:
        made = stack.up(policy_packs=[str(ROOT / "infra" / "policies" / "pack")])
        assert stack.preview().change_summary.keys() <= {"same"}, "a second `up` would change it"
        yield {key: one.value for key, one in made.outputs.items()}
    finally:
        stack.destroy()


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_s3_itself_refuses_what_our_evaluator_says_it_does(outputs: dict[str, Any]) -> None:
    config = parse_file(ROOT / f"Pulumi.{STACK}.yaml", STACK)
    client: Any = boto3.client("s3", region_name=config.region)
    bucket, key = outputs["backup_bucket"], f"{STACK}/probe/test/{time.time_ns()}"
    # as an administrator of the account: only the bucket's own policy stands in the way
    assert code(client.put_object, Bucket=bucket, Key=key, Body=b"x") == "AccessDenied"
    until = time.time() + 100 * 365 * 86400
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    put = {"Bucket": bucket, "Key": key, "Body": b"x", "IfNoneMatch": "*"}
    assert code(client.put_object, **put, **lock) == "AccessDenied"
    version = client.put_object(**put)["VersionId"]
    assert code(client.put_object, **put) == "PreconditionFailed"
    target = {"Bucket": bucket, "Key": key, "VersionId": version}
    assert code(client.delete_object, **target) == "AccessDenied"
    assert code(client.delete_object, **target, BypassGovernanceRetention=True) == "AccessDenied"
    assert code(client.create_multipart_upload, Bucket=bucket, Key=key) == "AccessDenied"
