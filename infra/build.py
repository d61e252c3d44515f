"""Builds a stack: components in order, and what they hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws.provider as provider

from infra.backup_bucket import BackupBucket, BackupBucketArgs
from infra.config.model import InfraConfig
from infra.endpoints import Endpoints, EndpointsArgs
from infra.firewall import Firewall, FirewallArgs
from infra.identities import Identities, IdentitiesArgs
from infra.keys import Keys, KeysArgs
from infra.network import Network, NetworkArgs


@dataclass(frozen=True)
class Outputs:
    """What a stack tells: addresses and names for people and for the agents' configuration."""

    backup_bucket: pulumi.Output[str]
    public_address: pulumi.Output[str]
    manual_steps: pulumi.Output[list[str]]

    def export(self) -> None:
        """Export everything under its own name."""
        for name, value in vars(self).items():
            pulumi.export(name, value)


def build(config: InfraConfig) -> Outputs:
    """Register every resource of a stack and return what it tells. No lookup, no file, no call."""
    region: Any = config.region
    main = provider.Provider("main", region=region, allowed_account_ids=[config.account_id])
    options = pulumi.ResourceOptions(provider=main)

    keys = Keys("keys", KeysArgs(config), options)
    network = Network("network", NetworkArgs(config, keys.logs.arn), options)
    firewall = Firewall(
        "firewall",
        FirewallArgs(config, network.vpc.id, network.s3_endpoint.prefix_list_id),
        options,
    )
    Endpoints(
        "endpoints",
        EndpointsArgs(
            config,
            network.vpc.id,
            network.subnet_ids("private"),
            firewall.groups["endpoints"].id,
        ),
        options,
    )
    backup_bucket = BackupBucket("backup-bucket", BackupBucketArgs(config), options)
    Identities("identities", IdentitiesArgs(config), options)
    return Outputs(
        backup_bucket=backup_bucket.bucket.bucket,
        public_address=network.address.public_ip,
        manual_steps=pulumi.Output.from_input(["confirm the e-mail that asks to subscribe"]),
    )
