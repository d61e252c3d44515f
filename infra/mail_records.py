"""DNS records of outgoing mail, as data: written to Route 53, or told to be made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws.route53 as route53

from infra.component import Component
from infra.config.model import InfraConfig
from infra.host_files import DKIM_SELECTOR


@dataclass(frozen=True)
class DnsRecord:
    """One record set."""

    logical_name: str
    name: pulumi.Input[str]
    type: str
    values: Sequence[pulumi.Input[str]]


def dmarc(config: InfraConfig) -> DnsRecord:
    """Return the DMARC record, which begins by watching: `p=none` refuses nobody's mail."""
    reports = config.mail.dmarc_reports
    value = "v=DMARC1; p=none; adkim=s; aspf=r" + (f"; rua=mailto:{reports}" if reports else "")
    return DnsRecord("mail-dmarc", f"_dmarc.{config.mail.domain}", "TXT", [value])


def server_records(
    config: InfraConfig, public_address: pulumi.Output[str]
) -> tuple[DnsRecord, ...]:
    """Return the records of the mail server."""
    domain = config.mail.domain
    if config.mail.delivery == "direct":
        sender: pulumi.Input[str] = pulumi.Output.concat("v=spf1 ip4:", public_address, " -all")
    else:
        sender = f"v=spf1 a:{config.mail.relay_host} -all"
    records = [DnsRecord("mail-spf", domain, "TXT", [sender]), dmarc(config)]
    if config.mail.delivery == "direct":
        records.append(DnsRecord("mail-address", domain, "A", [public_address]))
    if config.mail.dkim_public_key is not None:
        key = f"v=DKIM1; k=rsa; p={config.mail.dkim_public_key}"
        records.append(
            DnsRecord("mail-dkim", f"{DKIM_SELECTOR}._domainkey.{domain}", "TXT", [_long_text(key)])
        )
    return tuple(records)


def _long_text(value: str) -> str:
    """Return a TXT value in strings of at most 255 characters (RFC 1035, section 3.3)."""
    return '""'.join(value[start : start + 255] for start in range(0, len(value), 255))


def write(component: Component[InfraConfig], records: Sequence[DnsRecord]) -> list[pulumi.Resource]:
    """Write records to the zone of the stack; without a zone write none."""
    zone = component.config.dns_zone_id
    if zone is None:
        return []
    return [
        route53.Record(
            record.logical_name,
            zone_id=zone,
            name=record.name,
            type=record.type,
            ttl=3600,
            records=list(record.values),
            opts=component.child(),
        )
        for record in records
    ]


def told(records: Sequence[DnsRecord]) -> pulumi.Output[list[str]]:
    """Return records as lines for whoever makes them by hand."""
    return pulumi.Output.all(
        *(
            pulumi.Output.concat(record.name, " ", record.type, " ", *record.values)
            for record in records
        )
    ).apply(lambda lines: [str(line) for line in lines])
