"""A login to Amazon RDS without a password: a token that the machine's role signs.

"IAM database authentication for PostgreSQL" in the user guide of RDS. The token is a signed request
to connect, for one address, port and user, good for 15 minutes; signing it asks nobody.
"""

from __future__ import annotations

from typing import Any

from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error, Code


def sign(config: PostgreSQLSource) -> str:
    """Return a fresh token for the source's user; raise TOOL_MISSING without boto3, SOURCE_FAILED
    when this machine has no credentials of AWS."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise Art32Error(
            Code.TOOL_MISSING,
            "a login by a token of AWS needs `boto3`, which is not installed",
            hint="pip install 'art32[s3]', or apt-get install python3-boto3",
        ) from error

    # no address but the instance's own metadata is asked
    settings: dict[str, Any] = {"ignore_configured_endpoint_urls": True}
    try:
        session = boto3.Session()
        client = session.client("rds", region_name=config.rds_iam_region, config=Config(**settings))
        token: str = client.generate_db_auth_token(
            DBHostname=config.host or "", Port=config.port, DBUsername=config.user or ""
        )
    except (BotoCoreError, ClientError) as error:
        raise Art32Error(
            Code.SOURCE_FAILED,
            f"no token to log in to `{config.host}` can be signed: {type(error).__name__}",
            hint="give this machine a role that has `rds-db:connect` for the database's user",
        ) from error
    return token
