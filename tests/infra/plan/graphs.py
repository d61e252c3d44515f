"""Graphs made by hand: few resources, each with the inputs that a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.graph import Graph, Resource

_TOKENS = {
    "Acl": "aws:ec2/networkAcl:NetworkAcl",
    "AclRule": "aws:ec2/networkAclRule:NetworkAclRule",
    "DefaultAcl": "aws:ec2/defaultNetworkAcl:DefaultNetworkAcl",
    "Egress": "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "Function": "aws:lambda/function:Function",
    "Gateway": "aws:ec2/internetGateway:InternetGateway",
    "Ingress": "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "Mount": "aws:efs/mountTarget:MountTarget",
    "Route": "aws:ec2/route:Route",
    "RouteTable": "aws:ec2/routeTable:RouteTable",
    "RouteTableAssociation": "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "SecurityGroup": "aws:ec2/securityGroup:SecurityGroup",
    "Subnet": "aws:ec2/subnet:Subnet",
    "SubnetGroup": "aws:rds/subnetGroup:SubnetGroup",
    "Vpc": "aws:ec2/vpc:Vpc",
    "Bucket": "aws:s3/bucket:Bucket",
    "BucketLifecycleConfiguration": (
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    ),
    "BucketObjectLockConfiguration": (
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
    ),
    "ConfigurationSet": "aws:sesv2/configurationSet:ConfigurationSet",
    "Database": "aws:rds/instance:Instance",
    "Eip": "aws:ec2/eip:Eip",
    "Endpoint": "aws:ec2/vpcEndpoint:VpcEndpoint",
    "FlowLog": "aws:ec2/flowLog:FlowLog",
    "Group": "aws:autoscaling/group:Group",
    "Instance": "aws:ec2/instance:Instance",
    "Key": "aws:kms/key:Key",
    "LaunchTemplate": "aws:ec2/launchTemplate:LaunchTemplate",
    "LoadBalancer": "aws:lb/loadBalancer:LoadBalancer",
    "LogGroup": "aws:cloudwatch/logGroup:LogGroup",
    "Nat": "aws:ec2/natGateway:NatGateway",
    "Plan": "aws:backup/plan:Plan",
    "Queue": "aws:sqs/queue:Queue",
    "Rehearsal": "aws:backup/restoreTestingSelection:RestoreTestingSelection",
    "Robot": "aws:robomaker/robot:Robot",
    "Role": "aws:iam/role:Role",
    "Vault": "aws:backup/vault:Vault",
    "VaultLock": "aws:backup/vaultLockConfiguration:VaultLockConfiguration",
    "Volume": "aws:ebs/volume:Volume",
    "WafLogging": "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",
    "WebAcl": "aws:wafv2/webAcl:WebAcl",
}


def urn(kind: str, name: str, stack: str = "prod", project: str = "art32") -> str:
    return f"urn:pulumi:{stack}::{project}::{_TOKENS[kind]}::{name}"


def resource(
    kind: str,
    name: str = "main",
    inputs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Resource:
    """Return a resource of one of the kinds above; `personal=30` tags it with a retention."""
    given = dict(inputs or {})
    if "personal" in options:
        days = options.pop("personal")
        given["tags"] = {"PersonalData": "yes", "RetentionDays": str(days)}
    source = options.pop("source", f"infra/{name}.py:1")
    return Resource(urn(kind, name), _TOKENS[kind], name, inputs=given, source=source, **options)


def marker(kind: str, name: str, output: str = "id") -> str:
    return f"@@{_TOKENS[kind]}::{name}::{output}@@"


def graph(*resources: Resource, stack: str = "prod", project: str = "art32") -> Graph:
    return Graph(project, stack, tuple(sorted(resources, key=lambda one: one.urn)))
