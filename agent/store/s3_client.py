"""How the S3 store gets its client: credentials, addresses, time limits. boto3 is imported here."""

from __future__ import annotations

import configparser
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.model import S3Store
from agent.errors import Art32Error, Code

if TYPE_CHECKING:
    import boto3
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

_CREDENTIALS_HINT = (
    "set `credentials_file` in `[store]` to a file with `aws_access_key_id` and "
    "`aws_secret_access_key`, or give this machine an instance role"
)


def no_credentials() -> Art32Error:
    return Art32Error(
        Code.STORE_REFUSED, "there are no credentials for the store", hint=_CREDENTIALS_HINT
    )


def build(config: S3Store) -> S3Client:
    """Return a client that tries once, verifies every byte, and never waits longer than told.

    Checksums of the SDK's own choosing stay off: since version 1.36 they broke servers that are
    not AWS. Endpoints come from the configuration alone, not from the environment.
    Raise TOOL_MISSING, CONFIG_MISSING, PERMISSION or STORE_REFUSED.
    """
    session = session_of(config)
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    if config.ca_file is not None:
        _check_readable(config.ca_file, "ca_file")
    not_in_the_stubs: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    try:
        return session.client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint,
            verify=str(config.ca_file) if config.ca_file is not None else None,
            config=Config(
                **not_in_the_stubs,
                signature_version="s3v4",
                retries={"total_max_attempts": 1, "mode": "standard"},
                # botocore uses the first limit for every piece that it sends, not only to connect
                connect_timeout=config.timeout,
                read_timeout=config.timeout,
                max_pool_connections=16,
                tcp_keepalive=True,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={
                    "payload_signing_enabled": True,
                    "addressing_style": "path" if config.path_style else "auto",
                },
            ),
        )
    except BotoCoreError as error:
        raise _unusable(error) from error


def session_of(config: S3Store) -> boto3.Session:
    """Return an SDK session with the store's credentials: those of a file, or the machine's own.

    Raise TOOL_MISSING, CONFIG_MISSING, PERMISSION, STORE_REFUSED or CONFIG_INVALID.
    """
    try:
        import boto3
        import botocore.session
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise Art32Error(
            Code.TOOL_MISSING,
            "the S3 store needs `boto3`, which is not installed",
            hint="pip install 'art32[s3]', or apt-get install python3-boto3",
        ) from error

    given: dict[str, Any] = {}
    session = botocore.session.Session()
    if config.credentials_file is not None:
        credentials = _credentials(config.credentials_file, config.profile)
        given = {
            "aws_access_key_id": credentials.access_key,
            "aws_secret_access_key": credentials.secret_key,
            "aws_session_token": credentials.token,
        }
    elif config.profile is not None:
        session.set_config_variable("profile", config.profile)
    try:
        return boto3.Session(botocore_session=session, region_name=config.region, **given)
    except BotoCoreError as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> Art32Error:
    return Art32Error(
        Code.CONFIG_INVALID,
        f"no client for the store can be made from the configuration: {type(error).__name__}",
        hint="`region`, `endpoint` and `profile` of `[store]` are the likely culprits",
    )


def _check_readable(path: Path, key: str) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise Art32Error(
            Code.CONFIG_MISSING,
            f"`{path}`, the store's `{key}`, cannot be read",
            hint="check the path and the rights",
        ) from error


def _credentials(path: Path, profile: str | None) -> Credentials:
    """Read an AWS shared credentials file, which nobody but its owner may read."""
    from botocore.credentials import SharedCredentialProvider
    from botocore.exceptions import BotoCoreError

    _check_readable(path, "credentials_file")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Art32Error(
            Code.PERMISSION,
            f"others than its owner may use the credentials file `{path}`",
            hint=f"chmod 600 {path}",
        )
    try:
        found = SharedCredentialProvider(str(path), profile).load()
    except (BotoCoreError, configparser.Error, UnicodeDecodeError):
        found = None  # the parser's message would quote the file: its cause is left out
    if found is None:
        raise Art32Error(
            Code.STORE_REFUSED,
            f"`{path}` has no access key for the profile `{profile or 'default'}`",
            hint=_CREDENTIALS_HINT,
        ) from None
    return found
