"""Where backups go: one section model for each kind of store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from agent.config.section import Section

_PART = r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*"  # never `..`, which leads out of the store
Prefix = Annotated[
    str,
    Field(pattern=rf"^(?:{_PART}(?:/{_PART})*/?)?$", max_length=512),
    AfterValidator(lambda value: value.rstrip("/")),
]


class DirectoryStore(Section):
    """A directory: a disk, a mount, the embedded default."""

    kind: Literal["directory"]
    path: Path = Field(description="The directory; it must exist.", examples=["/srv/backups"])
    prefix: Prefix = Field("", description="Path below it.", examples=["production"])


class S3Store(Section):
    """A bucket at AWS, or at whatever speaks the same protocol."""

    kind: Literal["s3"]
    bucket: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="The bucket.",
        examples=["example-backups"],
    )
    prefix: Prefix = Field("", description="Path in the bucket.", examples=["production"])
    region: str = Field("eu-central-1", description="The region.", examples=["eu-central-1"])
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/@]+$",
        description="Base address of a server that is not AWS.",
        examples=["https://s3.example.net"],
    )
    ca_file: Path | None = Field(
        None, description="The CA of that server.", examples=["/etc/art32/store-ca.pem"]
    )
    credentials_file: Path | None = Field(
        None,
        description="An AWS credentials file, mode 0600. Without it: the instance's role.",
        examples=["/etc/art32/s3-credentials"],
    )
    profile: str | None = Field(None, description="Section of that file.", examples=["writer"])
    path_style: bool = Field(
        False, description="Put the bucket into the path, not the host name.", examples=[False]
    )
    timeout: float = Field(
        60,
        gt=0,
        le=3600,
        description="Seconds without progress after which a transfer is broken off and retried.",
        examples=[60],
    )
    attempts: int = Field(
        6, ge=1, le=50, description="How often a failing call is tried.", examples=[6]
    )


StoreConfig = Annotated[DirectoryStore | S3Store, Field(discriminator="kind")]
