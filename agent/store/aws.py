"""What AWS itself says of a machine: under which name it writes, and which duty it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.config.model import S3Store, StoreConfig
from agent.errors import Art32Error, Code
from agent.store import s3_client

_DUTY = "Art32Duty"
_ENDED = ("shutting-down", "terminated")
_MOST = 200  # values of one filter


def is_aws(config: StoreConfig) -> bool:
    """Whether the store is AWS' own: only there IAM proves who wrote below which name."""
    return isinstance(config, S3Store) and config.endpoint is None


def user_id(config: S3Store, *, endpoint: str | None = None) -> str:
    """Return `aws:userid` of the store's credentials: `<role id>:<instance id>` on an instance.

    Raise STORE_UNREACHABLE or STORE_REFUSED. `endpoint` is where a test has its STS.
    """
    client = _client(config, "sts", endpoint)
    return str(_asked(lambda: client.get_caller_identity(), "who this machine is")["UserId"])


def duties_of(
    config: S3Store, instances: Sequence[str], *, endpoint: str | None = None
) -> dict[str, str]:
    """Return the duty that the stack gave to each of these instances, "" where it gave none; what
    is not there, or not any more, is left out.

    Raise STORE_UNREACHABLE or STORE_REFUSED.
    """
    if not instances:
        return {}
    client = _client(config, "ec2", endpoint)
    wanted = [{"Name": "instance-id", "Values": list(instances)[:_MOST]}]
    answer = _asked(lambda: client.describe_instances(Filters=wanted), "which instances there are")
    found = {}
    for reservation in answer.get("Reservations", []):
        for one in reservation.get("Instances", []):
            if one.get("State", {}).get("Name") not in _ENDED:
                tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}
                found[str(one["InstanceId"])] = str(tags.get(_DUTY, ""))
    return found


def _client(config: S3Store, service: Any, endpoint: str | None) -> Any:
    session = s3_client.session_of(config)
    from botocore.config import Config

    not_in_the_stubs: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    return session.client(
        service,
        endpoint_url=endpoint,
        config=Config(
            **not_in_the_stubs,
            connect_timeout=10,
            read_timeout=20,
            retries={"total_max_attempts": 3, "mode": "standard"},
        ),
    )


def _asked(question: Any, what: str) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return dict(question())
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))[:60]
        raise Art32Error(
            Code.STORE_REFUSED,
            f"AWS does not say {what}: `{code}`",
            hint="look at the role's policy",
        ) from error
    except BotoCoreError as error:
        raise Art32Error(
            Code.STORE_UNREACHABLE,
            f"AWS cannot be asked {what}: {type(error).__name__}",
            hint="look at the network, and at the role of this machine",
        ) from error
