"""The artifact bucket: what is in it stays as it is."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.publish.problem import PublishError

_MOST = 1 << 30


@dataclass(frozen=True)
class Bucket:
    """The bucket, its owner, and a client with the caller's own credentials."""

    client: Any
    name: str
    account_id: str

    def put(self, key: str, data: bytes, *, anew: bool = False) -> bool:
        """Store an object that is not there yet, or with `anew` in place of another; return
        whether that was needed. Raise PublishError when another one is there, and when AWS
        refuses."""
        digest = hashlib.sha256(data).digest()
        once = {} if anew else {"IfNoneMatch": "*"}
        try:
            self._asked(
                self.client.put_object,
                Key=key,
                Body=data,
                ChecksumSHA256=base64.b64encode(digest).decode(),
                **once,
            )
        except _Taken:
            if hashlib.sha256(self.get(key)).digest() != digest:
                raise PublishError(
                    f"`{key}` is there already, with another content",
                    "a release never changes: publish it under a new name",
                ) from None
            return False
        return True

    def get(self, key: str) -> bytes:
        """Return an object; raise PublishError."""
        body = self._asked(self.client.get_object, Key=key)["Body"]
        data: bytes = body.read(_MOST)
        return data

    def _asked(self, call: Callable[..., Any], **more: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call(Bucket=self.name, ExpectedBucketOwner=self.account_id, **more)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "?"))
            if code in ("PreconditionFailed", "412"):
                raise _Taken from error
            if code in ("NoSuchBucket", "404"):
                raise PublishError(
                    f"there is no bucket `{self.name}`", "pulumi -C infra/bootstrap up"
                ) from error
            raise PublishError(
                f"S3 refuses `{more.get('Key')}` in `{self.name}`: {code}",
                f"the credentials must be of account {self.account_id}, and may write there",
            ) from error
        except BotoCoreError as error:
            raise PublishError(
                f"`{self.name}` cannot be reached: {type(error).__name__}",
                "aws sts get-caller-identity",
            ) from error


class _Taken(Exception):
    """Something has that name."""


def open_bucket(name: str, account_id: str, region: str, endpoint: str | None = None) -> Bucket:
    """Return the bucket, with the credentials that boto3 finds."""
    import boto3
    from botocore.config import Config

    style: Any = {"addressing_style": "path" if endpoint else "auto"}
    session: Any = boto3.Session()
    client = session.client(
        "s3", region_name=region, endpoint_url=endpoint, config=Config(s3=style)
    )
    return Bucket(client, name, account_id)
