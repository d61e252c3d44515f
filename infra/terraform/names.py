"""What Pulumi's and Terraform's AWS providers call the same thing."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

# Where neither aws_<module>_<resource> nor aws_<resource> is right. The bridge's own table of
# renames is part of the plug-in and not of the SDK.
_TYPES = {
    "ebs/volume:Volume": "aws_ebs_volume",
    "rds/instance:Instance": "aws_db_instance",
    "rds/subnetGroup:SubnetGroup": "aws_db_subnet_group",
    "rds/parameterGroup:ParameterGroup": "aws_db_parameter_group",
    "rds/optionGroup:OptionGroup": "aws_db_option_group",
    "rds/eventSubscription:EventSubscription": "aws_db_event_subscription",
    "cfg/recorder:Recorder": "aws_config_configuration_recorder",
    "cfg/recorderStatus:RecorderStatus": "aws_config_configuration_recorder_status",
    "cfg/deliveryChannel:DeliveryChannel": "aws_config_delivery_channel",
    "cfg/rule:Rule": "aws_config_config_rule",
    "cloudtrail/trail:Trail": "aws_cloudtrail",
    "lb/loadBalancer:LoadBalancer": "aws_lb",
    "s3/bucketObjectv2:BucketObjectv2": "aws_s3_object",
    "sqs/redrivePolicy:RedrivePolicy": "aws_sqs_queue_redrive_policy",
    "ses/mailFrom:MailFrom": "aws_ses_domain_mail_from",
    "autoscaling/group:Group": "aws_autoscaling_group",
    "vpc/securityGroupIngressRule:SecurityGroupIngressRule": "aws_vpc_security_group_ingress_rule",
    "vpc/securityGroupEgressRule:SecurityGroupEgressRule": "aws_vpc_security_group_egress_rule",
}
_KEYS = {
    ("aws_cloudwatch_metric_alarm", "name"): "alarm_name",
    ("aws_cloudwatch_composite_alarm", "name"): "alarm_name",
    ("aws_sns_topic_subscription", "topic"): "topic_arn",
    ("aws_lambda_function", "code"): "filename",
    ("aws_lambda_function", "name"): "function_name",
}


def snake(name: str) -> str:
    """Return a camelCase name in snake_case."""
    return re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)


def label(name: str) -> str:
    """Return a resource's name as Terraform allows it."""
    text = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return text if re.match(r"[A-Za-z_]", text) else f"_{text}"


def terraform_type(token: str, known: Container[str]) -> str | None:
    """Return the Terraform type of a Pulumi token, or None when none of the known ones fits."""
    rest = token.split(":", 1)[1]
    if rest in _TYPES:
        return _TYPES[rest] if _TYPES[rest] in known else None
    module, name = rest.split("/", 1)[0], rest.rsplit(":", 1)[1]
    name = snake(name[0].lower() + name[1:])
    return next((one for one in (f"aws_{module}_{name}", f"aws_{name}") if one in known), None)


def keys(terraform: str, key: str) -> Iterator[str]:
    """Yield what a Pulumi property may be called in Terraform, the likeliest first.

    Pulumi uses the plural for a block that may repeat (`rules` for `rule`).
    """
    if (terraform, key) in _KEYS:
        yield _KEYS[terraform, key]
    name = snake(key)
    yield name
    if name.endswith("ies"):
        yield f"{name[:-3]}y"
    if name.endswith("es"):
        yield name[:-2]
    if name.endswith("s"):
        yield name[:-1]
    yield f"{name}s"
