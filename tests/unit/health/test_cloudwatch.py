"""Metrics at moto, which answers as CloudWatch does."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from agent.errors import Art32Error, Code
from agent.health.cloudwatch import publish
from agent.health.examine import examine
from tests.fixtures.s3 import S3Server
from tests.unit.health.test_checks import configuration


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def test_states_and_values_arrive_under_the_host_and_nothing_else(
    tmp_path: Path, moto: S3Server
) -> None:
    found = examine(configuration(tmp_path), ("memory", "own_files"))
    where = {"region": "eu-central-1", "endpoint": moto.endpoint}
    count = publish(found, namespace="Art32Host/prod", host="web1", **where)
    client = boto3.client("cloudwatch", "eu-central-1", endpoint_url=moto.endpoint)
    listed = client.list_metrics(Namespace="Art32Host/prod")["Metrics"]
    assert len(listed) == count
    assert {one["MetricName"] for one in listed} == {
        "Check", "ChecksOk", "ChecksWarn", "ChecksFail", "ChecksUnknown",
    }  # fmt: skip
    assert all({"Name": "Host", "Value": "web1"} in one["Dimensions"] for one in listed)


def test_a_cloudwatch_that_does_not_answer_is_one_clear_error(tmp_path: Path) -> None:
    found = examine(configuration(tmp_path), ("own_files",))
    with pytest.raises(Art32Error) as caught:
        publish(
            found,
            namespace="Art32Host/prod",
            host="web1",
            region="eu-central-1",
            endpoint="http://127.0.0.1:9",
        )
    assert caught.value.code is Code.STORE_UNREACHABLE
