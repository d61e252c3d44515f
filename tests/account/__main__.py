"""Builds an ephemeral stack in a real account, tries what no mock can show, and destroys it.

python -m tests.account --stack test --i-pay-for-it

It needs the Pulumi CLI (logged in), an AWS profile that may administer the account, and
`Pulumi.<stack>.yaml` with `ephemeral: true`. It takes an hour and costs a few dollars; nothing else
runs it. What it tries: that the program goes up and is then its own state (no change), that the
bucket refuses what its policy says (moto ignores conditions), and that all of it can be destroyed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra import naming
from infra.config import ConfigError, InfraConfig, parse_file

ROOT = Path(__file__).parent.parent.parent


def main(arguments: list[str]) -> int:
    """Run the test; return 0 when everything held, 1 when something did not, 2 when not begun."""
    parser = argparse.ArgumentParser(prog="python -m tests.account")
    parser.add_argument("--stack", default="test")
    parser.add_argument("--i-pay-for-it", action="store_true")
    options = parser.parse_args(arguments)
    try:
        config = parse_file(ROOT / f"Pulumi.{options.stack}.yaml", options.stack)
    except ConfigError as error:
        return _refused(str(error))
    if not config.ephemeral:
        return _refused(f"`{options.stack}` is not ephemeral: it would be destroyed")
    if not options.i_pay_for_it:
        return _refused(f"this costs money in account {config.account_id}: --i-pay-for-it")
    if shutil.which("pulumi") is None:
        return _refused("the Pulumi CLI is not here: https://www.pulumi.com/docs/install")
    return _run(config)


def _refused(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


def _run(config: InfraConfig) -> int:
    from pulumi import automation

    stack = automation.create_or_select_stack(stack_name=config.stack, work_dir=str(ROOT))
    failed = []
    try:
        stack.up(on_output=print)
        stack.preview(expect_no_changes=True, on_output=print)
        failed = list(refusals(config))
    finally:
        stack.destroy(on_output=print)
    for sentence in failed:
        print(f"FAILED: {sentence}")
    return 1 if failed else 0


def refusals(config: InfraConfig, client: Any = None) -> Iterator[str]:
    """Yield what the backup bucket should have refused, or allowed, and did not."""
    import boto3
    from botocore.exceptions import ClientError

    s3: Any = client or boto3.client("s3", region_name=config.region)
    bucket = naming.bucket(config, "backups")
    key = f"{config.stack}/probe/account-test"

    def tried(**more: Any) -> str:
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=b"x", **more)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "stored"

    cases: tuple[tuple[str, dict[str, str], str], ...] = (
        ("a PUT without If-None-Match", {}, "AccessDenied"),
        ("a first PUT with it", {"IfNoneMatch": "*"}, "stored"),
        ("a second PUT with it", {"IfNoneMatch": "*"}, "PreconditionFailed"),
        (
            "another encryption",
            {"IfNoneMatch": "*", "ServerSideEncryption": "aws:kms"},
            "AccessDenied",
        ),
        (
            "a lock of one's own",
            {
                "IfNoneMatch": "*",
                "ObjectLockMode": "GOVERNANCE",
                "ObjectLockRetainUntilDate": "2120-01-01",
            },
            "AccessDenied",
        ),
    )
    for what, headers, wanted in cases:
        got = tried(**headers)
        if got != wanted:
            yield f"{what}: {got} instead of {wanted}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
