"""Puts values of the right shape in the place of markers, for whatever reads names and ARNs."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from infra.graph import MARKER, Graph, transform

ACCOUNT = "123456789012"
REGION = "eu-central-1"

# the part of an ARN after the account, where it is not <resource>/<name>
_ARNS = {
    "aws:s3:Bucket": "arn:{partition}:s3:::{name}",
    "aws:iam:Role": "arn:{partition}:iam::{account}:role/{name}",
    "aws:iam:Policy": "arn:{partition}:iam::{account}:policy/{name}",
    "aws:iam:InstanceProfile": "arn:{partition}:iam::{account}:instance-profile/{name}",
    "aws:kms:Key": "arn:{partition}:kms:{region}:{account}:key/{name}",
    "aws:sns:Topic": "arn:{partition}:sns:{region}:{account}:{name}",
    "aws:sqs:Queue": "arn:{partition}:sqs:{region}:{account}:{name}",
    "aws:cloudwatch:LogGroup": "arn:{partition}:logs:{region}:{account}:log-group:{name}",
    "aws:cloudwatch:EventRule": "arn:{partition}:events:{region}:{account}:rule/{name}",
    "aws:cloudwatch:MetricAlarm": "arn:{partition}:cloudwatch:{region}:{account}:alarm:{name}",
    "aws:cloudtrail:Trail": "arn:{partition}:cloudtrail:{region}:{account}:trail/{name}",
    "aws:backup:Vault": "arn:{partition}:backup:{region}:{account}:backup-vault:{name}",
    "aws:secretsmanager:Secret": "arn:{partition}:secretsmanager:{region}:{account}:secret:{name}",
    "aws:ssm:Parameter": "arn:{partition}:ssm:{region}:{account}:parameter/{name}",
    "aws:ssm:Document": "arn:{partition}:ssm:{region}:{account}:document/{name}",
    "aws:rds:Instance": "arn:{partition}:rds:{region}:{account}:db:{name}",
    "aws:sesv2:EmailIdentity": "arn:{partition}:ses:{region}:{account}:identity/{name}",
    "aws:sesv2:ConfigurationSet": "arn:{partition}:ses:{region}:{account}:configuration-set/{name}",
    "aws:ebs:Volume": "arn:{partition}:ec2:{region}:{account}:volume/{name}",
    "aws:ec2:Instance": "arn:{partition}:ec2:{region}:{account}:instance/{name}",
    "aws:ec2:LaunchTemplate": "arn:{partition}:ec2:{region}:{account}:launch-template/{name}",
}
_NAMES = ("bucket", "name", "topicName", "identifier", "emailIdentity", "configurationSetName")


class Plausible:
    """The values of one graph; account, region and partition are those of its provider."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        providers = [one for one in graph.resources if one.type == "pulumi:providers:aws"]
        uses = Counter(one.provider for one in graph.resources)
        providers.sort(key=lambda one: -uses[one.urn])  # the one of most resources is the stack's
        self.region = next((str(r.get("region")) for r in providers if r.get("region")), REGION)
        accounts = re.findall(
            r"\d{12}", " ".join(str(one.get("allowedAccountIds", "")) for one in providers)
        )
        self.account = accounts[0] if accounts else ACCOUNT
        self.partition = "aws-eusc" if self.region.startswith("eusc-") else "aws"

    def marker(self, marker: re.Match[str]) -> str:
        """Return a value for one marker."""
        resource = self.graph.find(marker)
        output = marker["output"]
        name = marker["name"]
        if resource is not None:
            given = (resource.get(one) for one in _NAMES)
            name = next((self.text(one) for one in given if isinstance(one, str)), name)
            if output == "arn" or output.endswith("Arn"):
                template = _ARNS.get(resource.kind) if output == "arn" else None
                if output.endswith("secretArn"):
                    template = _ARNS["aws:secretsmanager:Secret"]
                _, module, kind = resource.kind.split(":")
                service = {"lb": "elasticloadbalancing", "vpc": "ec2", "ebs": "ec2"}.get(
                    module, module
                )
                template = template or (
                    f"arn:{{partition}}:{service}:{{region}}:{{account}}:{kind.lower()}/{{name}}"
                )
                return template.format(
                    partition=self.partition,
                    region=self.region,
                    account=self.account,
                    name=name.removeprefix("/"),
                )
        return name if output in ("id", "name", "bucket") else f"{name}-{output}"

    def text(self, value: str) -> str:
        """Return a string without markers."""
        return MARKER.sub(self.marker, value)

    def value(self, value: Any) -> Any:
        """Return any value without markers."""
        return transform(value, self.text)
