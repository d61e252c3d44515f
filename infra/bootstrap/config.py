"""The account's configuration: few keys, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from infra.config import ConfigError, Problem
from infra.config.regions import DNS_SUFFIXES, EEA_REGIONS, partition_of

PROJECT = "art32-account"
STACK = "account"
Choice = Literal["create", "skip"]


class AccountConfig(BaseModel):
    """What the account gets. Whatever exists once per account and region is made or left alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    account_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")] = Field(
        alias="accountId", description="The AWS account.", examples=["123456789012"]
    )
    region: str = Field(description="The region.", examples=["eu-central-1"])
    domain: str | None = Field(
        None,
        description="Domain to make a public zone in Route 53 for; delegate it before `pulumi up`.",
        examples=["example.org"],
    )
    access_analyzer: Choice = Field(
        "create", alias="accessAnalyzer", description="IAM Access Analyzer.", examples=["skip"]
    )
    defaults: Choice = Field(
        "create",
        description="Safe defaults: disks encrypted, snapshots, images and buckets never public, "
        "metadata by session, passwords that are long.",
        examples=["skip"],
    )
    guard_duty: Choice = Field(
        "create", alias="guardDuty", description="GuardDuty.", examples=["skip"]
    )
    recorder: Choice = Field("create", description="AWS Config.", examples=["skip"])
    security_hub: Choice = Field(
        "create",
        alias="securityHub",
        description="Security Hub, with AWS' own standard.",
        examples=["skip"],
    )
    sessions: Choice = Field(
        "create",
        description="Settings of Session Manager: what is typed is logged.",
        examples=["skip"],
    )

    @property
    def stack(self) -> str:
        """Return what stands in names instead of a stack's name."""
        return STACK

    @property
    def partition(self) -> str:
        """Return the partition of the region."""
        return partition_of(self.region)

    @property
    def dns_suffix(self) -> str:
        """Return what host names of the partition end in."""
        return DNS_SUFFIXES[self.partition]

    @property
    def ephemeral(self) -> bool:
        """Return false: what an account has once is kept."""
        return False


def parse(values: Mapping[str, object]) -> AccountConfig:
    """Return the configuration that values stand for; raise ConfigError with all mistakes."""
    given = {name: value for name, value in values.items() if value not in ("", None)}
    problems = list(_problems(given))
    if problems:
        raise ConfigError(STACK, tuple(problems))
    return AccountConfig.model_validate(_texts(given))


def _texts(values: Mapping[str, object]) -> dict[str, object]:
    return {name: str(value) for name, value in values.items()}


def _problems(values: Mapping[str, object]) -> Iterator[Problem]:
    fields = {info.alias or name: info for name, info in AccountConfig.model_fields.items()}
    for name in sorted(set(values) - set(fields)):
        yield Problem(name, f"`{name}` is no key of this project", f"pulumi config rm {name}")
    for name, info in fields.items():
        mend = f"pulumi config set {name} {(info.examples or [''])[0]}"
        if name not in values:
            if info.is_required():
                yield Problem(name, f"`{name}` is missing", mend)
            continue
        try:
            annotation: Any = info.annotation
            checked: Any = Annotated[annotation, *info.metadata] if info.metadata else annotation
            TypeAdapter(checked).validate_python(str(values[name]))
        except ValidationError:
            yield Problem(name, f"`{name}` has the wrong form", mend)
    region = values.get("region")
    if region is not None and region not in EEA_REGIONS:
        yield Problem(
            "region",
            f"`region` `{region}` lies outside of the EU and the EEA: the state and the packages "
            "may lie there, personal data needs a `transferBasis` of its stack",
            "pulumi config set region eu-central-1",
        )
