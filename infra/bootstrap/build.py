"""Builds what an account has once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws.provider as provider

from infra.bootstrap.config import AccountConfig
from infra.bootstrap.defaults import Defaults, DefaultsArgs
from infra.bootstrap.foundation import Foundation, FoundationArgs
from infra.bootstrap.watching import Watching, WatchingArgs


@dataclass(frozen=True)
class AccountOutputs:
    """What every stack needs to know: for `pulumi login`, `pulumi stack init` and the keys."""

    artifact_bucket: pulumi.Output[str]
    login: pulumi.Output[str]
    secrets_provider: pulumi.Output[str]
    zone_id: pulumi.Output[str] | None
    name_servers: pulumi.Output[Sequence[str]] | None

    def export(self) -> None:
        """Export everything under its own name."""
        for name, value in vars(self).items():
            if value is not None:
                pulumi.export(name, value)


def build(config: AccountConfig) -> AccountOutputs:
    """Register the account's resources and return what the stacks need of them."""
    main = provider.Provider("main", region=config.region, allowed_account_ids=[config.account_id])
    options = pulumi.ResourceOptions(provider=main)
    foundation = Foundation("foundation", FoundationArgs(config), options)
    if config.defaults == "create":
        Defaults("defaults", DefaultsArgs(config), options)
    Watching("watching", WatchingArgs(config), options)
    zone = foundation.zone
    return AccountOutputs(
        artifact_bucket=foundation.artifacts,
        login=foundation.login,
        secrets_provider=foundation.secrets_provider,
        zone_id=zone.zone_id if zone else None,
        name_servers=zone.name_servers if zone else None,
    )
