"""Machines: the launch template that every one is started from, and the group of one that heals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pulumi
import pulumi_aws.autoscaling as autoscaling
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.ebs as ebs
import pulumi_aws.ec2 as ec2

from infra import naming
from infra.component import Component
from infra.config.model import Generation, InfraConfig
from infra.user_data import DataVolume, render

ROOT_DEVICE = "/dev/xvda"
"""Root device of Debian's images."""
ROOT_SIZE = 12
BUSY = 60.0
"""Mean use of the processors, in percent, that a group which may grow is held at."""


@dataclass(frozen=True)
class Machine:
    """What a machine of a duty is started with."""

    duty: str
    size: str
    security_group_id: pulumi.Input[str]
    profile_name: pulumi.Input[str]
    disk_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    ready: Sequence[pulumi.Resource]
    volume: DataVolume | None = None


def log_group(
    component: Component[InfraConfig], duty: str, key_arn: pulumi.Input[str]
) -> cloudwatch.LogGroup:
    """Make the log group of a duty."""
    config = component.config
    return cloudwatch.LogGroup(
        f"{duty}-log",
        name=naming.log_group(config, duty),
        retention_in_days=config.log_days,
        kms_key_id=key_arn,
        tags=component.tags(f"{duty}-log", personal_data=True, retention_days=config.log_days),
        opts=component.child(),
    )


def machine_tags(component: Component[InfraConfig], duty: str) -> dict[str, str]:
    """Return the tags of a running machine: its duty is what SSM and the keeper find it by."""
    tags = component.tags(duty, personal_data=duty in ("web", "db", "mail"))
    return {**tags, "Art32Duty": duty, "Art32Patch": component.config.stack}


def metadata_options() -> ec2.LaunchTemplateMetadataOptionsArgs:
    """Return the metadata service's settings: sessions only, no hop beyond the machine itself."""
    return ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled",
        http_tokens="required",
        http_put_response_hop_limit=1,
        instance_metadata_tags="disabled",
    )


def launch_template(component: Component[InfraConfig], machine: Machine) -> ec2.LaunchTemplate:
    """Make the template that machines of a duty are started from."""
    config = component.config
    tags = machine_tags(component, machine.duty)
    return ec2.LaunchTemplate(
        machine.duty,
        image_id=config.ami_id,
        instance_type=machine.size,
        update_default_version=True,
        ebs_optimized="true",
        iam_instance_profile=ec2.LaunchTemplateIamInstanceProfileArgs(name=machine.profile_name),
        metadata_options=metadata_options(),
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=True),
        block_device_mappings=[
            ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name=ROOT_DEVICE,
                ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    volume_size=ROOT_SIZE,
                    volume_type="gp3",
                    encrypted="true",
                    kms_key_id=machine.disk_key_arn,
                    delete_on_termination="true",
                ),
            )
        ],
        network_interfaces=[
            ec2.LaunchTemplateNetworkInterfaceArgs(
                associate_public_ip_address="false",
                security_groups=[machine.security_group_id],
                delete_on_termination="true",
            )
        ],
        user_data=render(config, machine.duty, machine.volume),
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags)
            for kind in ("instance", "volume", "network-interface")
        ],
        tags=component.tags(machine.duty),
        opts=component.child(),
    )


@dataclass(frozen=True)
class Group:
    """How many machines, where, and behind what. `overlap`: a new one may start beside the old."""

    subnet_ids: Sequence[pulumi.Input[str]]
    minimum: int = 1
    maximum: int = 1
    target_group_arns: Sequence[pulumi.Input[str]] = ()
    overlap: bool = False


def self_healing_group(
    component: Component[InfraConfig], machine: Machine, group: Group
) -> autoscaling.Group:
    """Make the group that starts a machine anew when it is lost or unhealthy.

    A changed template rolls through the group by itself: with `overlap` one machine at a time
    while the others serve, else the old machine ends before the new one begins. A group whose
    maximum is above its minimum grows when it is busy and shrinks afterwards.
    """
    template = launch_template(component, machine)
    tags = machine_tags(component, machine.duty)
    made = autoscaling.Group(
        machine.duty,
        min_size=group.minimum,
        max_size=group.maximum,
        desired_capacity=group.minimum,
        vpc_zone_identifiers=list(group.subnet_ids),
        target_group_arns=list(group.target_group_arns),
        health_check_type="ELB" if group.target_group_arns else "EC2",
        health_check_grace_period=900,
        launch_template=autoscaling.GroupLaunchTemplateArgs(
            id=template.id, version=template.latest_version.apply(str)
        ),
        instance_refresh=autoscaling.GroupInstanceRefreshArgs(
            strategy="Rolling",
            preferences=autoscaling.GroupInstanceRefreshPreferencesArgs(
                min_healthy_percentage=100 if group.overlap else 0,
                max_healthy_percentage=200 if group.overlap else 100,
                instance_warmup="300",
            ),
        ),
        wait_for_capacity_timeout="0",
        tags=[
            autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
            for key, value in tags.items()
        ],
        opts=component.child(depends_on=list(machine.ready), ignore_changes=["desiredCapacity"]),
    )
    if group.maximum > group.minimum:
        autoscaling.Policy(
            machine.duty,
            name=naming.prefixed(component.config, machine.duty),
            autoscaling_group_name=made.name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=autoscaling.PolicyTargetTrackingConfigurationArgs(
                predefined_metric_specification=(
                    autoscaling.PolicyTargetTrackingConfigurationPredefinedMetricSpecificationArgs(
                        predefined_metric_type="ASGAverageCPUUtilization"
                    )
                ),
                target_value=BUSY,
            ),
            opts=component.child(),
        )
    return made


def with_volume(machine: Machine, volume: DataVolume) -> Machine:
    """Return a machine that mounts a volume."""
    return replace(machine, volume=volume)


def data_volume(
    component: Component[InfraConfig],
    name: str,
    generation: Generation,
    size: int,
    key_arn: pulumi.Input[str],
) -> ebs.Volume:
    """Make the volume of a generation: empty or from its snapshot, kept, and snapshot each day.

    The snapshot counts at creation alone: `ignore_changes` keeps a later edit of the generation
    from replacing the volume.
    """
    return ebs.Volume(
        name,
        availability_zone=generation.zone or component.config.zones[0],
        size=size,
        type="gp3",
        encrypted=True,
        kms_key_id=key_arn,
        snapshot_id=generation.snapshot,
        final_snapshot=not component.config.ephemeral,
        tags={
            **component.tags(name, personal_data=True),
            "Art32Backup": component.config.stack,
            "Art32Generation": generation.name,
        },
        opts=component.kept(ignore_changes=["snapshotId", "availabilityZone"]),
    )


def single_instance(
    component: Component[InfraConfig],
    name: str,
    machine: Machine,
    generation: Generation,
    subnet_id: pulumi.Input[str],
    volume: ebs.Volume,
) -> ec2.Instance:
    """Make the one machine of a generation, with its data volume attached.

    A changed AMI would replace it and changed user-data would restart it, neither of which
    anybody asked for: both count at creation alone. A new generation takes the new ones.
    """
    config = component.config
    instance = ec2.Instance(
        name,
        ami=config.ami_id,
        instance_type=machine.size,
        subnet_id=subnet_id,
        vpc_security_group_ids=[machine.security_group_id],
        iam_instance_profile=machine.profile_name,
        associate_public_ip_address=False,
        disable_api_termination=not config.ephemeral,
        ebs_optimized=True,
        monitoring=True,
        metadata_options=ec2.InstanceMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        root_block_device=ec2.InstanceRootBlockDeviceArgs(
            volume_size=ROOT_SIZE,
            volume_type="gp3",
            encrypted=True,
            kms_key_id=machine.disk_key_arn,
        ),
        user_data_base64=render(config, machine.duty, machine.volume),
        user_data_replace_on_change=False,
        tags={**machine_tags(component, machine.duty), "Art32Generation": generation.name},
        opts=component.child(
            depends_on=list(machine.ready),
            ignore_changes=["ami", "userDataBase64", "availabilityZone", "subnetId"],
        ),
    )
    ec2.VolumeAttachment(
        name,
        device_name="/dev/sdf",
        instance_id=instance.id,
        volume_id=volume.id,
        stop_instance_before_detaching=True,
        opts=component.child(),
    )
    return instance
