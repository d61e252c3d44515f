"""Machines: what they start from, who reaches their metadata, what they keep on which disk."""

from __future__ import annotations

import base64
import binascii
import gzip
import re
from collections.abc import Iterator

from infra.graph import MARKER, Graph, Resource
from infra.policies.rule import Checked, ephemeral, rule, unless

_LIMIT = 16 * 1024


def machines(graph: Graph) -> tuple[Resource, ...]:
    """Return what machines are made from."""
    return graph.of("aws:ec2:Instance", "aws:ec2:LaunchTemplate")


def user_data(resource: Resource) -> bytes | None:
    """Return the user-data of a machine as the machine gets it, or None."""
    text = resource.get("userDataBase64")
    if text is None and resource.kind == "aws:ec2:LaunchTemplate":
        text = resource.get("userData")
    if text is None:
        plain = resource.get("userData")
        return None if plain is None else str(plain).encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return str(text).encode()


def readable(data: bytes) -> str:
    """Return user-data as text, unpacked when it is compressed."""
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8", "replace")


@rule(
    "metadata-by-token-only",
    "the metadata service wants a token and answers no container",
    gdpr="32",
    fsbp="EC2.8",
    cis="5.6",
)
def metadata(graph: Graph) -> Checked:
    for one in machines(graph):
        tokens = one.get("metadataOptions.httpTokens")
        hops = one.get("metadataOptions.httpPutResponseHopLimit")
        yield one, unless(tokens == "required" and hops == 1, "hands out credentials without token")


@rule("no-public-address", "no machine has a public address", gdpr="32", fsbp="EC2.9 EC2.25")
def public_address(graph: Graph) -> Checked:
    for one in machines(graph):
        given = one.get("associatePublicIpAddress")
        given = one.get("networkInterfaces.associatePublicIpAddress", given)
        yield one, unless(str(given).lower() == "false", "does not refuse a public address")


@rule(
    "disks-encrypted", "every disk is encrypted", gdpr="32(1)(a)", fsbp="EC2.3 EC2.7", cis="2.2.1"
)
def disks(graph: Graph) -> Checked:
    for one in graph.of("aws:ebs:Volume"):
        yield one, unless(one.get("encrypted") is True, "is not encrypted")
    for one in graph.of("aws:ec2:Instance"):
        inner = one.get("rootBlockDevice.encrypted")
        yield one, unless(inner is True, "has a root disk that is not encrypted")
    for one in graph.of("aws:ec2:LaunchTemplate"):
        devices = one.get("blockDeviceMappings", [])
        inner = [str(device.get("ebs", {}).get("encrypted")).lower() for device in devices]
        yield one, unless(inner and set(inner) == {"true"}, "has a disk that is not encrypted")


@rule("user-data-fits", "user-data is below AWS' limit of 16 KB", gdpr="32")
def user_data_size(graph: Graph) -> Checked:
    for one in machines(graph):
        data = user_data(one)
        if data is not None:
            yield one, unless(len(data) <= _LIMIT, f"has {len(data)} bytes of user-data")


@rule("image-pinned", "a machine's image is named, not looked up", gdpr="32")
def image(graph: Graph) -> Checked:
    for one in machines(graph):
        name = str(one.get("ami") or one.get("imageId") or "")
        yield (
            one,
            unless(
                re.fullmatch(r"ami-[0-9a-f]{8,17}", name),
                f"starts from `{name}`: replaced by surprise",
            ),
        )


@rule(
    "no-restart-by-user-data",
    "changed user-data or a new image does not replace or restart a machine that holds data",
    gdpr="32(1)(b)",
)
def user_data_ignored(graph: Graph) -> Checked:
    for one in graph.of("aws:ec2:Instance"):
        wanted = {"ami", "userDataBase64" if one.get("userDataBase64") else "userData"}
        missing = wanted - set(one.ignore_changes)
        yield one, unless(not missing, f"does not ignore changes of {', '.join(sorted(missing))}")


@rule("termination-protected", "a machine that holds data cannot be terminated", gdpr="32(1)(b)")
def termination(graph: Graph) -> Checked:
    for one in graph.of("aws:ec2:Instance"):
        protected = one.get("disableApiTermination") is True or ephemeral(one)
        yield one, unless(protected, "can be terminated by mistake")


@rule("data-on-its-own-disk", "a machine's data is not on its root disk", gdpr="32(1)(b)")
def data_disk(graph: Graph) -> Checked:
    for one in graph.of("aws:ec2:Instance"):
        attached = graph.attached(one, "aws:ec2:VolumeAttachment", "instanceId")
        yield one, unless(attached, "has no disk besides its root disk")


@rule(
    "lost-machine-comes-back",
    "a group makes a lost machine anew, from a launch template",
    gdpr="32(1)(b)",
    fsbp="AutoScaling.9",
)
def self_healing(graph: Graph) -> Checked:
    for one in graph.of("aws:autoscaling:Group"):
        template = graph.targets(one, "launchTemplate") or graph.targets(
            one, "mixedInstancesPolicy"
        )
        sleeping = one.get("minSize") == 0 and one.get("tags") and "restorer" in one.name
        enough = int(one.get("minSize", 0)) >= 1 or sleeping
        yield one, unless(template and enough, "does not make a lost machine anew")


@rule(
    "maximum-is-reached",
    "a group that may grow has a policy that makes it grow",
    gdpr="32(1)(b)",
)
def growing(graph: Graph) -> Checked:
    for one in graph.of("aws:autoscaling:Group"):
        grows = graph.attached(one, "aws:autoscaling:Policy", "autoscalingGroupName")
        fixed = one.get("maxSize") == one.get("minSize")
        yield one, unless(fixed or grows, "stays at its minimum, whatever its maximum is")


@rule(
    "balanced-group-asks-the-balancer",
    "a group behind a load balancer replaces what the balancer finds ill",
    gdpr="32(1)(b)",
    fsbp="AutoScaling.1",
)
def balancer_health(graph: Graph) -> Checked:
    for one in graph.of("aws:autoscaling:Group"):
        if one.get("targetGroupArns"):
            yield one, unless(one.get("healthCheckType") == "ELB", "only looks whether it runs")


@rule("volume-in-the-groups-zone", "a group that needs a disk stays in its zone", gdpr="32(1)(b)")
def volume_zone(graph: Graph) -> Checked:
    for group in graph.of("aws:autoscaling:Group"):
        for volume in _volumes(graph, group):
            subnets = graph.targets(group, "vpcZoneIdentifiers")
            zones = {one.get("availabilityZone") for one in subnets}
            alone = group.get("maxSize") == 1 and group.get("minSize") == 1
            yield (
                group,
                unless(
                    zones == {volume.get("availabilityZone")} and alone,
                    f"may start where or when {volume} cannot be attached",
                ),
            )


def _volumes(graph: Graph, group: Resource) -> Iterator[Resource]:
    """Yield the volumes that the machines of a group attach themselves, by their user-data."""
    for template in graph.targets(group, "launchTemplate"):
        data = user_data(template)
        for marker in MARKER.finditer(readable(data)) if data else ():
            target = graph.find(marker)
            if target is not None and target.kind == "aws:ebs:Volume":
                yield target


@rule("no-door-on-the-host", "no machine runs sshd for people or fail2ban without it", gdpr="32")
def no_ssh(graph: Graph) -> Checked:
    for one in machines(graph):
        text = readable(user_data(one) or b"")
        named = one.get("keyName") or re.search(r"authorized_keys|fail2ban|openssh-server", text)
        yield one, unless(not named, "brings SSH or fail2ban: Session Manager is the door")
