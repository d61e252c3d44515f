"""Where the services are: parameters that the machines read, switched with the generation."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.ssm as ssm

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig


@dataclass(frozen=True)
class AddressesArgs:
    """The addresses of the active generations. `mail` is empty when SES is called by its API."""

    config: InfraConfig
    database: pulumi.Input[str]
    mail: pulumi.Input[str]


class Addresses(Component[InfraConfig]):
    """`/art32/<stack>/shared/database`, `.../mail`, `.../backups`.

    Protects against: a switch to a restored database that needs a redeployment. It is no CNAME: a
    certificate is checked against the name that was asked for (`sslmode=verify-full`).
    """

    area = "addresses"

    def __init__(
        self, name: str, args: AddressesArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        values: dict[str, pulumi.Input[str]] = {
            "database": args.database,
            "mail": args.mail,
            "backups": naming.bucket(config, "backups"),
        }
        for purpose, value in values.items():
            ssm.Parameter(
                purpose,
                name=naming.parameter(config, "shared", purpose),
                type="String",
                value=value,
                tags=self.tags(purpose),
                opts=self.child(),
            )
        self.register_outputs({})
