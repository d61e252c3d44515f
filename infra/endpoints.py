"""Ways to AWS' own services that do not leave the network, and what may pass through them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.ec2 as ec2

from infra import naming, reachability
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, document


@dataclass(frozen=True)
class EndpointsArgs:
    """Where the endpoints stand and which security group guards them."""

    config: InfraConfig
    vpc_id: pulumi.Input[str]
    subnet_ids: list[pulumi.Output[str]]
    security_group_id: pulumi.Input[str]


class Endpoints(Component[InfraConfig]):
    """Interface endpoints, when the configuration or a running restorer asks for them.

    Protects against: data that leaves through AWS' own services into a stranger's account. A
    policy lets only this account's identities through.
    """

    area = "network"

    def __init__(
        self, name: str, args: EndpointsArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        zones = len(config.zones) if config.interface_endpoints == "all" else 1
        for service in reachability.endpoint_services(config):
            ec2.VpcEndpoint(
                service,
                vpc_id=args.vpc_id,
                service_name=naming.endpoint_service(config, service),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=args.subnet_ids[:zones],
                security_group_ids=[args.security_group_id],
                policy=document(_own_account(config)),
                tags=self.tags(service),
                opts=self.child(),
            )
        self.register_outputs({})


def _own_account(config: InfraConfig) -> dict[str, object]:
    return dict(
        allow(
            "OwnIdentities",
            "*",
            "*",
            principal="*",
            condition={"StringEquals": {"aws:PrincipalAccount": config.account_id}},
        )
    )


def gateway_policy(config: InfraConfig) -> pulumi.Output[str]:
    """Return the policy of the S3 endpoint: own identities on own buckets, and AWS' tools.

    The SSM agent reads its updates, documents and patch baselines from buckets of AWS, region by
    region (Systems Manager user guide, "SSM Agent communications with AWS managed S3 buckets").
    """
    region = config.region
    tools = (
        f"aws-ssm-{region}",
        f"amazon-ssm-{region}",
        f"amazon-ssm-packages-{region}",
        f"aws-ssm-document-attachments-{region}",
        f"aws-ssm-distributor-file-{region}",
        f"patch-baseline-snapshot-{region}",
        f"patch-baseline-snapshot-{region}-*",  # younger regions: a suffix of their own
        f"aws-patch-manager-{region}-*",
        f"{region}-birdwatcher-prod",
        f"amazoncloudwatch-agent-{region}",
    )
    return document(
        allow(
            "OwnIdentitiesOwnBuckets",
            "s3:*",
            "*",
            principal="*",
            condition={
                "StringEquals": {
                    "aws:PrincipalAccount": config.account_id,
                    "aws:ResourceAccount": config.account_id,
                }
            },
        ),
        allow(
            "ToolsOfAws",
            "s3:GetObject",
            [f"arn:{config.partition}:s3:::{name}/*" for name in tools],
            principal="*",
        ),
    )
