"""Who can reach whom: security groups, ACLs, routes, endpoints, flow logs."""

from __future__ import annotations

from infra.authorization import Request, decide
from infra.graph import Graph, Resource
from infra.plausible import Plausible
from infra.policies.rule import Checked, rule, unless

_INGRESS = "aws:vpc:SecurityGroupIngressRule"
_EGRESS = "aws:vpc:SecurityGroupEgressRule"
_ANYWHERE = ("0.0.0.0/0", "::/0")


def routes(graph: Graph, table: Resource) -> tuple[Resource, ...]:
    """Return the routes of a route table."""
    return graph.attached(table, "aws:ec2:Route", "routeTableId")


def tables(graph: Graph, subnet: Resource) -> tuple[Resource, ...]:
    """Return the route tables that a subnet is associated with."""
    found = graph.attached(subnet, "aws:ec2:RouteTableAssociation", "subnetId")
    return tuple(t for one in found for t in graph.targets(one, "routeTableId"))


def default_route(graph: Graph, subnet: Resource) -> str:
    """Return what a subnet's default route leads to: `gateway`, `nat` or nothing."""
    for table in tables(graph, subnet):
        for one in routes(graph, table):
            given = one.get("destinationCidrBlock") or one.get("destinationIpv6CidrBlock")
            if given in _ANYWHERE:
                return "nat" if one.get("natGatewayId") else "gateway"
    return ""


@rule(
    "rules-stand-alone",
    "security group rules are resources of their own: inline rules undo them",
    gdpr="32",
)
def standalone(graph: Graph) -> Checked:
    for one in graph.of("aws:ec2:SecurityGroup"):
        inline = one.get("ingress") or one.get("egress")
        yield one, unless(not inline, "has inline rules")
    for one in graph.of("aws:ec2:SecurityGroupRule"):
        yield one, "is of the old kind, which fights the new one"


@rule(
    "open-to-the-world",
    "only HTTP and HTTPS are open to everybody, on the load balancer alone",
    gdpr="32 25",
    fsbp="EC2.13 EC2.14 EC2.18 EC2.19",
    cis="5.2 5.3",
)
def open_ports(graph: Graph) -> Checked:
    balanced = {
        group.urn
        for balancer in graph.of("aws:lb:LoadBalancer")
        for group in graph.targets(balancer, "securityGroups")
    }
    for one in graph.of(_INGRESS):
        open_ = one.get("cidrIpv4") in _ANYWHERE or one.get("cidrIpv6") in _ANYWHERE
        groups = {group.urn for group in graph.targets(one, "securityGroupId")}
        fits = (
            groups <= balanced
            and one.get("ipProtocol") == "tcp"
            and one.get("fromPort") == one.get("toPort")
            and one.get("fromPort") in (80, 443)
        )
        yield one, unless(not open_ or fits, "opens more than the site's ports to everybody")


@rule("group-to-group", "machines are let in by group, not by address", gdpr="32")
def group_to_group(graph: Graph) -> Checked:
    for one in graph.of(_INGRESS):
        address = one.get("cidrIpv4") or one.get("cidrIpv6")
        yield (
            one,
            unless(
                not address or address in _ANYWHERE,
                f"lets `{address}` in, whoever has that address",
            ),
        )


@rule("egress-is-named", "what may leave is named by protocol and port", gdpr="32 25")
def egress(graph: Graph) -> Checked:
    for one in graph.of(_EGRESS):
        named = str(one.get("ipProtocol")) != "-1" and one.get("fromPort") is not None
        one_port = one.get("fromPort") == one.get("toPort")
        yield one, unless(named and one_port, "lets everything out")
    for one in graph.of("aws:ec2:SecurityGroup"):
        both = {kind: graph.attached(one, kind, "securityGroupId") for kind in (_INGRESS, _EGRESS)}
        yield one, unless(any(both.values()), "has no rules: what is it for?")


@rule("rules-say-why", "every opened port says why", gdpr="32", fsbp="EC2.19")
def described(graph: Graph) -> Checked:
    for one in graph.of(_INGRESS, _EGRESS, "aws:ec2:SecurityGroup"):
        text = one.get("description") or ""
        yield one, unless(text and text != "Managed by Pulumi", "does not say what it is for")


@rule(
    "defaults-emptied",
    "AWS' permissive default group, ACL and route table are emptied",
    gdpr="32",
    fsbp="EC2.2",
    cis="5.4",
)
def defaults(graph: Graph) -> Checked:
    for vpc in graph.of("aws:ec2:Vpc"):
        for kind, through, keys in (
            ("aws:ec2:DefaultSecurityGroup", "vpcId", ("ingress", "egress")),
            ("aws:ec2:DefaultNetworkAcl", "defaultNetworkAclId", ("ingress", "egress")),
            ("aws:ec2:DefaultRouteTable", "defaultRouteTableId", ("routes",)),
        ):
            found = graph.attached(vpc, kind, through)
            empty = [one for one in found if not any(one.get(key) for key in keys)]
            yield vpc, unless(empty and len(empty) == len(found), f"keeps its {kind[8:]}")


@rule("acl-for-each-tier", "every subnet has an ACL that names ports", gdpr="32", fsbp="EC2.21")
def acls(graph: Graph) -> Checked:
    for subnet in graph.of("aws:ec2:Subnet"):
        found = graph.attached(subnet, "aws:ec2:NetworkAcl", "subnetIds")
        yield subnet, unless(found, "has AWS' default ACL, which lets everything through")
    for one in graph.of("aws:ec2:NetworkAclRule"):
        if one.get("ruleAction") != "allow":
            continue
        first, last = int(one.get("fromPort", 0)), int(one.get("toPort", 65535))
        wide = str(one.get("protocol")) in ("-1", "all")
        answers = first >= 1024
        yield one, unless(not wide and (answers or first == last), "does not name a port")
        door = first <= 22 <= last or (first <= 3389 <= last and first != 1024)
        yield one, unless(not door or one.get("egress"), "lets SSH or RDP in")


@rule(
    "no-public-subnet-for-machines",
    "subnets give out no public addresses, and machines lie behind NAT",
    gdpr="32",
    fsbp="EC2.15 AutoScaling.5",
)
def private(graph: Graph) -> Checked:
    for one in graph.of("aws:ec2:Subnet"):
        yield one, unless(not one.get("mapPublicIpOnLaunch"), "gives out public addresses")
    for one in graph.of("aws:ec2:Instance", "aws:autoscaling:Group"):
        subnets = graph.targets(one, "subnetId", "vpcZoneIdentifiers")
        public = [subnet.name for subnet in subnets if default_route(graph, subnet) == "gateway"]
        yield (
            one,
            unless(subnets and not public, f"lies in the public subnet {', '.join(public) or '?'}"),
        )


@rule(
    "data-tier-has-no-way-out",
    "managed databases and restorers have no route to the internet",
    gdpr="32",
)
def no_way_out(graph: Graph) -> Checked:
    for group in graph.of("aws:rds:SubnetGroup"):
        for subnet in graph.targets(group, "subnetIds"):
            yield (
                subnet,
                unless(not default_route(graph, subnet), "holds databases and has a route"),
            )
    for subnet in graph.of("aws:ec2:Subnet"):
        if subnet.get("tags.Art32Tier") in ("data", "isolated"):
            yield subnet, unless(not default_route(graph, subnet), "should have no default route")


@rule("flow-logs", "every network logs its connections", gdpr="32 33", fsbp="EC2.6", cis="3.7")
def flow_logs(graph: Graph) -> Checked:
    for vpc in graph.of("aws:ec2:Vpc"):
        logs = graph.attached(vpc, "aws:ec2:FlowLog", "vpcId")
        yield (
            vpc,
            unless(
                any(one.get("trafficType") in ("ALL", "REJECT") for one in logs), "has no flow log"
            ),
        )


@rule(
    "endpoints-only-for-us",
    "no endpoint carries data to a stranger's account",
    gdpr="32 25",
    fsbp="EC2.10",
)
def endpoints(graph: Graph) -> Checked:
    plausible = Plausible(graph)
    for one in graph.of("aws:ec2:VpcEndpoint"):
        document = plausible.value(one.document("policy"))
        if not document:
            yield one, "has AWS' default policy, which lets everything through"
            continue
        service = str(one.get("serviceName")).rpartition(".")[2]
        stranger, ours = "999999999999", plausible.account
        action, target = _EXFILTRATION.get(service, (f"{service}:PutItem", "*"))
        for principal, owner in ((stranger, stranger), (ours, stranger), (stranger, ours)):
            if principal == ours and service != "s3":
                continue  # Systems Manager's documents are Amazon's, and roles name what is theirs
            asked = Request(
                f"arn:{plausible.partition}:iam::{principal}:role/x",
                action,
                target.format(partition=plausible.partition, region=plausible.region),
                {
                    "aws:ResourceAccount": owner,
                    "aws:PrincipalAccount": principal,
                    "aws:PrincipalIsAWSService": "false",
                },
            )
            verdict = decide(asked, identity=[_everything], boundaries=[document])
            yield one, unless(not verdict, f"lets {principal} use what belongs to {owner}")


_everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
_EXFILTRATION = {
    "s3": ("s3:PutObject", "arn:{partition}:s3:::stranger/key"),
    "kms": ("kms:Encrypt", "arn:{partition}:kms:{region}:999999999999:key/x"),
    "logs": ("logs:PutLogEvents", "arn:{partition}:logs:{region}:999999999999:log-group:x:*"),
    "secretsmanager": (
        "secretsmanager:PutSecretValue",
        "arn:{partition}:secretsmanager:{region}:999999999999:secret:x",
    ),
}


@rule(
    "endpoint-reaches-amazons-own-buckets",
    "the endpoint of S3 lets Systems Manager fetch its own packages",
    gdpr="32(1)(b)",
)
def endpoint_amazon(graph: Graph) -> Checked:
    plausible = Plausible(graph)
    for one in graph.of("aws:ec2:VpcEndpoint"):
        if not str(one.get("serviceName")).endswith(".s3") or not one.document("policy"):
            continue
        document = plausible.value(one.document("policy"))
        for bucket in (
            f"aws-ssm-{plausible.region}",
            f"patch-baseline-snapshot-{plausible.region}",
            f"patch-baseline-snapshot-{plausible.region}-0a1b2c3d",  # as in eu-south-2
        ):
            asked = Request(
                f"arn:{plausible.partition}:iam::{plausible.account}:role/x",
                "s3:GetObject",
                f"arn:{plausible.partition}:s3:::{bucket}/key",
                {"aws:ResourceAccount": "000000000000"},
            )
            verdict = decide(asked, identity=[_everything], boundaries=[document])
            yield one, unless(verdict, f"blocks `{bucket}`, which the SSM agent needs")
