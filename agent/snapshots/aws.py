"""The one door to AWS of a person's own session: clients, and what failures mean.

Credentials, profile and addresses come from the environment and the AWS configuration files, as
with every tool of ops engineers; region and account come from the stack.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from agent.errors import Art32Error, Code
from agent.snapshots.stack import Stack

Result = TypeVar("Result")
_WELL_FORMED = re.compile(r"[A-Za-z0-9.]{1,64}")
_REFUSALS = ("AccessDenied", "Unauthorized", "NotAuthorized", "OptInRequired")
_NO_LOGIN = (
    "ExpiredToken",
    "InvalidClientTokenId",
    "UnrecognizedClient",
    "AuthFailure",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "RequestExpired",
)
_LOGIN_HINT = "log in and try again: aws sts get-caller-identity must answer"


class Cloud:
    """Clients for a stack's account, made when they are first needed."""

    def __init__(self, stack: Stack) -> None:
        """Raise TOOL_MISSING without boto3."""
        if importlib.util.find_spec("boto3") is None:
            raise Art32Error(
                Code.TOOL_MISSING,
                "AWS is asked through `boto3`, which is not installed",
                hint="pip install 'art32[aws]'",
            )
        self._stack = stack
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the client of a service; raise AWS_REFUSED."""
        place = (service, region or self._stack.region)
        if place not in self._clients:
            self._clients[place] = asked(lambda: _build(*place), f"a client of `{service}`")
        return self._clients[place]

    def check_account(self) -> None:
        """Raise AWS_REFUSED unless the session is one of the stack's own account."""
        answer = asked(lambda: self.client("sts").get_caller_identity(), "sts:GetCallerIdentity")
        if answer["Account"] != self._stack.account_id:
            raise Art32Error(
                Code.AWS_REFUSED,
                f"this session is one of account `{answer['Account']}`, and stack "
                f"`{self._stack.name}` is in `{self._stack.account_id}`",
                hint="choose the profile of that account: export AWS_PROFILE=NAME",
            )

    def pages(
        self, service: str, call: str, key: str, *, region: str | None = None, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of a call that answers in pages."""
        client = self.client(service, region)
        paginator = client.get_paginator(call)
        action = f"{service}:{client.meta.method_to_api_mapping[call]}"
        pages = iter(paginator.paginate(**arguments))
        while (page := asked(lambda: next(pages, None), action)) is not None:
            yield from page.get(key, ())


def asked(question: Callable[[], Result], action: str) -> Result:
    """Return the answer to a question; raise AWS_REFUSED or AWS_UNREACHABLE with the action."""
    from botocore import exceptions

    try:
        return question()
    except exceptions.ClientError as failure:
        raise _refusal(failure, action) from failure
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
        exceptions.SSOError,
    ) as failure:
        raise Art32Error(
            Code.AWS_REFUSED, "there are no usable credentials for AWS", hint=_LOGIN_HINT
        ) from failure
    except (exceptions.BotoCoreError, OSError) as failure:
        raise Art32Error(
            Code.AWS_UNREACHABLE,
            f"AWS gave no usable answer to `{action}`: {type(failure).__name__}",
            hint="check name resolution, proxy and region, and try again",
        ) from failure


def _build(service: str, region: str) -> Any:
    import boto3
    from botocore.config import Config

    factory: Any = boto3.Session().client
    settings = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"total_max_attempts": 4, "mode": "standard"},
    )
    return factory(service, region_name=region, config=settings)


def _refusal(failure: Exception, action: str) -> Art32Error:
    answer: Any = getattr(failure, "response", {})
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code.startswith(_NO_LOGIN):
        return Art32Error(
            Code.AWS_REFUSED, "AWS does not accept this session's credentials", hint=_LOGIN_HINT
        )
    if code.startswith(_REFUSALS) or status in (401, 403):
        return Art32Error(
            Code.AWS_REFUSED,
            f"AWS refuses this session the right to `{action}`",
            hint="use a session that may read the account, as the policy ReadOnlyAccess allows",
        )
    shown = code if _WELL_FORMED.fullmatch(code) else "an error"
    return Art32Error(
        Code.AWS_UNREACHABLE,
        f"AWS answered {shown} (HTTP {status}) to `{action}`",
        hint="try again; the AWS Health Dashboard says whether the service is disturbed",
    )
