"""What an S3 server's failures mean: the error to show, and whether trying again may help.

Codes are from the Amazon S3 API reference, "Error responses". Nothing that the server or the SDK
says is passed on as it is: it may quote signatures, key ids and addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from agent import clock
from agent.config.model import S3Store
from agent.errors import Art32Error, Code
from agent.store.retry import Trouble
from agent.store.s3_client import no_credentials

_WELL_FORMED = re.compile(r"[A-Za-z0-9]{1,64}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_UNKNOWN_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidClientTokenId",
}
_OTHER_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_WRONG_BYTES = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "InvalidChecksum"}
_NOT_DONE_YET = {
    "SlowDown",
    "SlowDownWrite",
    "SlowDownRead",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ConditionalRequestConflict",
    "OperationAborted",
}
_FULL = {"QuotaExceeded", "EntityQuotaExceeded", "XMinioStorageFull", "InsufficientStorage"}


def code_of(failure: Exception) -> str:
    """Return the S3 code of a refused request, else its HTTP status; "" for other failures."""
    response = getattr(failure, "response", None)
    if not isinstance(response, Mapping):
        return ""
    return str(response.get("Error", {}).get("Code", "")) or str(status_of(failure))


def status_of(failure: Exception) -> int:
    """Return the HTTP status of a refused request, 0 for other failures."""
    status = _metadata(failure).get("HTTPStatusCode", 0)
    return status if isinstance(status, int) else 0


def date_of(metadata: Mapping[str, Any]) -> datetime | None:
    """Return the moment in an answer's Date header (RFC 9110 6.6.1), None without a usable one."""
    try:
        moment = parsedate_to_datetime(metadata["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _metadata(failure: Exception) -> Mapping[str, Any]:
    response = getattr(failure, "response", None)
    found = response.get("ResponseMetadata", {}) if isinstance(response, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def classify(failure: Exception, config: S3Store, *, what: str) -> Trouble:
    """Given what the SDK raised while doing `what`, return what it means."""
    from botocore.exceptions import ClientError

    if isinstance(failure, ClientError):
        return _refusal(failure, config, what)
    return _no_answer(failure, config, what)


def _no_answer(failure: Exception, config: S3Store, what: str) -> Trouble:
    from botocore import exceptions

    where = config.endpoint or f"AWS in {config.region}"

    def unreachable(sentence: str, hint: str) -> Art32Error:
        return Art32Error(Code.STORE_UNREACHABLE, sentence, hint=hint)

    match failure:
        case (
            exceptions.NoCredentialsError()
            | exceptions.PartialCredentialsError()
            | exceptions.CredentialRetrievalError()
            | exceptions.ProfileNotFound()
        ):
            return Trouble(no_credentials())
        case exceptions.SSLError():
            said = str(failure).lower()
            return Trouble(
                unreachable(
                    f"no trusted TLS connection to the store at `{where}`",
                    "the server's certificate must be good for its name and come from a known CA; "
                    "name a private one in `ca_file`",
                ),
                retryable="certificate" not in said and "wrong version" not in said,
                ambiguous=True,
            )
        case exceptions.EndpointConnectionError() | exceptions.ConnectTimeoutError():
            return Trouble(
                unreachable(
                    f"the store at `{where}` cannot be reached",
                    "check `endpoint` and `region`, name resolution, firewall and route",
                ),
                retryable=True,
            )
        case exceptions.ReadTimeoutError() | TimeoutError():
            return Trouble(
                unreachable(
                    f"the store at `{where}` made no progress for {config.timeout:g} s at {what}",
                    "try later; raise `timeout` in `[store]` if the line is that slow",
                ),
                retryable=True,
                ambiguous=True,
            )
        case (
            exceptions.HTTPClientError()
            | exceptions.IncompleteReadError()
            | exceptions.ResponseStreamingError()
            | OSError()
        ):
            return Trouble(
                unreachable(
                    f"the store at `{where}` broke the connection at {what}",
                    "try later; if it stays, look at the server's log",
                ),
                retryable=True,
                ambiguous=True,
            )
        case exceptions.ParamValidationError() | exceptions.InvalidRegionError():
            return Trouble(
                Art32Error(
                    Code.CONFIG_INVALID,
                    f"the store's configuration makes no valid request at {what}",
                    hint="check `bucket`, `region` and `endpoint` in `[store]`",
                )
            )
        case exceptions.BotoCoreError() | LookupError() | TypeError() | ValueError():
            return Trouble(
                _failed(f"the store at `{where}` gave an answer that makes no sense at {what}"),
                retryable=True,
                ambiguous=True,
            )
    raise failure


def _refusal(failure: Exception, config: S3Store, what: str) -> Trouble:
    code, status = code_of(failure), status_of(failure)
    if code == "RequestTimeTooSkewed":
        return Trouble(
            Art32Error(
                Code.CLOCK_SKEW,
                "this host's clock is too far from the store's",
                hint="set the clock: `timedatectl` shows whether it is synchronised",
            )
        )
    if code in _NOT_DONE_YET or status == 429:
        return Trouble(_failed(_said(config, code, status, what)), True, False, _wish(failure))
    if code in _FULL or status == 507:
        return Trouble(
            Art32Error(
                Code.STORE_FULL,
                f"the store `{config.bucket}` has no room left",
                hint="prune old backups, or raise the quota",
            )
        )
    if status >= 500 and status != 501:
        return Trouble(_failed(_said(config, code, status, what)), True, True, _wish(failure))
    if code == "NoSuchBucket":
        return Trouble(
            Art32Error(
                Code.STORE_MISSING,
                f"there is no bucket `{config.bucket}`",
                hint="check `bucket`, `region` and `endpoint` in `[store]`",
            )
        )
    if code in _OTHER_REGION or status in (301, 307):
        return Trouble(_other_region(failure, config))
    if code in _UNKNOWN_KEY:
        return Trouble(
            Art32Error(
                Code.STORE_REFUSED,
                "the store does not accept this host's credentials",
                hint="renew the key in `credentials_file`, or check the instance role; "
                "a wrong clock looks like this too",
            )
        )
    if status in (401, 403):
        return Trouble(
            Art32Error(
                Code.STORE_REFUSED,
                f"the store `{config.bucket}` refuses this identity the right for {what}",
                hint="a host may only write; list, get and delete belong to keeper and restorer",
            )
        )
    if code in _WRONG_BYTES:
        return Trouble(
            Art32Error(
                Code.CORRUPT,
                f"the store received other bytes than were announced at {what}",
                hint="run it again; if it stays, suspect this machine's memory or a proxy",
            )
        )
    return Trouble(_failed(_said(config, code, status, what)))


def _failed(sentence: str) -> Art32Error:
    return Art32Error(
        Code.STORE_FAILED, sentence, hint="try later; if it stays, look at the server's log"
    )


def _said(config: S3Store, code: str, status: int, what: str) -> str:
    shown = code if _WELL_FORMED.fullmatch(code) else "an error"
    return f"the store `{config.bucket}` answered {shown} (HTTP {status}) at {what}"


def _other_region(failure: Exception, config: S3Store) -> Art32Error:
    response = getattr(failure, "response", {})
    region = str(
        response.get("Error", {}).get("Region")
        or _metadata(failure).get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
    )
    known = _REGION.fullmatch(region) is not None
    return Art32Error(
        Code.STORE_FAILED,
        f"the bucket `{config.bucket}` is not in the region `{config.region}`",
        hint=f'set `region = "{region}"` in `[store]`' if known else "check `region` in `[store]`",
    )


def _wish(failure: Exception) -> float | None:
    """Return the seconds that Retry-After asks for: a number, or a date (RFC 9110 10.2.3)."""
    headers = _metadata(failure).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", "")).strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - clock.now()).total_seconds())
