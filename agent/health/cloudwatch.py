"""Results as CloudWatch metrics, so that alarms ring at AWS, also when a host falls silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.errors import Art32Error, Code
from agent.health.examine import Examined
from agent.health.result import State

_MOST = 1000  # metrics a call (PutMetricData)


def publish(
    found: Examined, *, namespace: str, host: str, region: str, endpoint: str | None = None
) -> int:
    """Put the number of checks in each state, and the value of each check that has one; return
    how many metrics were put. Raise STORE_REFUSED or STORE_UNREACHABLE."""
    data = metrics(found, host)
    put(data, namespace=namespace, region=region, endpoint=endpoint)
    return len(data)


def put(
    data: Sequence[dict[str, Any]], *, namespace: str, region: str, endpoint: str | None = None
) -> None:
    """Put metrics as `put_metric_data` takes them; raise STORE_REFUSED or STORE_UNREACHABLE."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    settings = Config(connect_timeout=10, read_timeout=30, retries={"total_max_attempts": 3})
    client = boto3.client("cloudwatch", region_name=region, endpoint_url=endpoint, config=settings)
    try:
        for first in range(0, len(data), _MOST):
            client.put_metric_data(Namespace=namespace, MetricData=data[first : first + _MOST])
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "error"))
        refused = code in ("AccessDenied", "AccessDeniedException", "UnrecognizedClientException")
        raise Art32Error(
            Code.STORE_REFUSED if refused else Code.STORE_UNREACHABLE,
            f"CloudWatch refused the metrics: {code}",
            hint=f"the role needs cloudwatch:PutMetricData for the namespace `{namespace}`",
        ) from error
    except BotoCoreError as error:
        raise Art32Error(
            Code.STORE_UNREACHABLE, f"CloudWatch cannot be reached: {type(error).__name__}"
        ) from error


def metrics(found: Examined, host: str) -> list[dict[str, Any]]:
    """Return the metrics of `put_metric_data`."""
    own = {"Name": "Host", "Value": host}
    data: list[dict[str, Any]] = [
        {
            "MetricName": f"Checks{state.value.capitalize()}",
            "Dimensions": [own],
            "Timestamp": found.at,
            "Value": sum(one.state is state for one in found.results),
            "Unit": "Count",
        }
        for state in State
    ]
    data += [
        {
            "MetricName": "Check",
            "Dimensions": [own, {"Name": "Check", "Value": one.name[:255]}],
            "Timestamp": found.at,
            "Value": one.value,
            "Unit": "Percent" if one.unit == "%" else "None",
        }
        for one in found.results
        if one.value is not None
    ]
    return data
