"""A certificate for one name of the stack's zone, proved by a record in it."""

from __future__ import annotations

import pulumi
import pulumi_aws.acm as acm
import pulumi_aws.route53 as route53

from infra.component import Component
from infra.config.model import InfraConfig


def validated(
    component: Component[InfraConfig], name: str, *, domain: str, zone_id: str
) -> pulumi.Output[str]:
    """Make, as children of a component, a certificate for `domain` and its record; return the ARN,
    known once the certificate is valid."""
    certificate = acm.Certificate(
        name,
        domain_name=domain,
        validation_method="DNS",
        key_algorithm="EC_prime256v1",
        tags=component.tags(name),
        opts=component.child(),
    )
    option = certificate.domain_validation_options[0]
    record = route53.Record(
        f"{name}-certificate",
        zone_id=zone_id,
        name=option.resource_record_name,
        type=option.resource_record_type,
        records=[option.resource_record_value],
        ttl=300,
        allow_overwrite=True,
        opts=component.child(),
    )
    valid = acm.CertificateValidation(
        name,
        certificate_arn=certificate.arn,
        validation_record_fqdns=[record.fqdn],
        opts=component.child(),
    )
    return valid.certificate_arn
