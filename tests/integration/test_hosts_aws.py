"""Enrolment at AWS, as moto answers for it: who a machine is, which duty it has, what is a copy."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config.model import S3Store
from agent.errors import ExitStatus
from agent.store import aws
from tests.fixtures.hosts import Estate, section
from tests.fixtures.keys import Keys
from tests.fixtures.s3 import VERSIONED, S3Server

Launch = Callable[[str], str]
REAL = aws._client


def client(moto: S3Server, service: Any) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=moto.endpoint,
        region_name="us-east-1",
        aws_access_key_id="admin-key",
        aws_secret_access_key="secret",
    )


@pytest.fixture
def launch(moto: S3Server) -> Launch:
    """Launch an instance with a duty and return its id."""
    ec2 = client(moto, "ec2")

    def launched(duty: str) -> str:
        image = ec2.describe_images()["Images"][0]["ImageId"]
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Art32Duty", "Value": duty}]}]
        found = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)
        return str(found["Instances"][0]["InstanceId"])

    return launched


def credentials(moto: S3Server, role: str, session: str) -> str:
    """Return the section of a credentials file: those of a role, as an instance has them."""
    iam = client(moto, "iam")
    try:
        arn = iam.get_role(RoleName=role)["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    given = client(moto, "sts").assume_role(RoleArn=arn, RoleSessionName=session)["Credentials"]
    return (
        f"[default]\naws_access_key_id = {given['AccessKeyId']}\n"
        f"aws_secret_access_key = {given['SecretAccessKey']}\n"
        f"aws_session_token = {given['SessionToken']}\n"
    )


@pytest.fixture
def account(
    moto: S3Server,
    tmp_path: Path,
    keys: Keys,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Estate:
    """Machines of one bucket of an account; each machine's role stands in `<directory>/role`."""
    monkeypatch.setattr(
        aws, "_client", lambda config, service, _: REAL(config, service, moto.endpoint)
    )
    monkeypatch.setattr(aws, "is_aws", lambda config: isinstance(config, S3Store))
    prefix = f"test-{uuid.uuid4().hex[:12]}"

    def sections(identity: str) -> str:
        file = tmp_path / f"credentials-{identity}"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(credentials(moto, f"role-{prefix}-{identity}", "keeper"))
        return section(
            moto.config(VERSIONED, prefix=prefix, credentials_file=file, profile="default")
        )

    return Estate(tmp_path, keys, capsys, sections, "aws")


def become(account: Estate, moto: S3Server, role: str, instance: str) -> None:
    file = account.directory / f"credentials-{role}"
    file.touch(mode=0o600)
    file.write_text(credentials(moto, f"{account.directory.name}-{role}", instance))


def test_a_machine_enrols_under_the_name_that_iam_gives_it(
    account: Estate, moto: S3Server, launch: Launch
) -> None:
    instance = launch("db1")
    become(account, moto, "db", instance)
    host, keeper = account.host("db1", rights="db"), account.reader()
    identity = host.done("host", "enrol").data["identity"]
    role, _, session = identity.partition(":")
    assert role.startswith("AROA")
    assert session == instance
    (entry,) = keeper("host", "list").data["hosts"]
    assert (entry["identity"], entry["doubts"]) == (identity, [])
    keeper.done("host", "accept", host.fingerprint)


@pytest.mark.parametrize("case", ["duty", "ended"])
def test_a_machine_that_is_not_what_the_stack_says_is_doubted(
    account: Estate, moto: S3Server, launch: Launch, case: str
) -> None:
    instance = launch("web" if case == "duty" else "db1")
    if case == "ended":
        client(moto, "ec2").terminate_instances(InstanceIds=[instance])
    become(account, moto, "db", instance)
    host, keeper = account.host("db1", rights="db"), account.reader()
    host.done("host", "enrol")
    refused = keeper("host", "accept", host.fingerprint)
    assert refused.error["code"] == "enrolment-doubtful"
    words = {
        "duty": f"the stack says that `{instance}` is not `db1`, but `web`",
        "ended": f"there is no instance `{instance}`",
    }
    assert words[case] in refused.error["error"]


def test_a_machine_that_was_copied_makes_a_key_of_its_own(
    account: Estate, moto: S3Server, launch: Launch
) -> None:
    become(account, moto, "db", launch("db1"))
    host, keeper = account.host("db1", rights="db"), account.reader()
    first = host.done("host", "enrol").data["fingerprint"]
    host.done("backup", "run")
    keeper.done("host", "accept", first)
    become(account, moto, "db", launch("db1"))  # started from an image of the first one's disk
    copied = host("host", "enrol")
    assert copied.status == ExitStatus.WARNINGS
    assert copied.data["replaced"] == first
    assert copied.data["fingerprint"] == host.fingerprint != first
    time.sleep(1.1)  # S3 tells whole seconds, and within one there is no order
    host.done("backup", "run")
    listed = keeper("backup", "list", "--host", "db1").data["backups"]
    assert [one["state"] for one in listed] == ["complete", "pending"]
    keeper.done("host", "accept", host.fingerprint, "--replaces")
    listed = keeper.done("backup", "list", "--host", "db1").data["backups"]
    assert [(one["state"], one["sequence"]) for one in listed] == [("complete", 1), ("complete", 1)]


def test_an_account_that_does_not_answer_is_an_error_and_the_key_stays(
    account: Estate, moto: S3Server, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(account, moto, "db", launch("db1"))
    host = account.host("db1", rights="db")
    with monkeypatch.context() as patched:
        patched.setattr(
            aws, "_client", lambda config, service, _: REAL(config, service, "http://127.0.0.1:9")
        )
        refused = host("host", "enrol")
    assert refused.error["code"] == "store-unreachable"
    key = host.key_file.read_bytes()
    assert not host.done("host", "enrol").data["made"]
    assert host.key_file.read_bytes() == key
