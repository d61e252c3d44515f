"""What keys demand of each other. Each check sees valid values alone and yields what is wrong."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from infra.config.keys import keys
from infra.config.model import Generation
from infra.config.regions import DNS_SUFFIXES, EEA_REGIONS, partition_of


@dataclass(frozen=True)
class Problem:
    """One mistake: the key, what is wrong in one sentence, and the command that mends it."""

    key: str
    sentence: str
    mend: str


class Values(dict[str, Any]):
    """Valid values by key. A check that asks for one that is missing or wrong does not run."""

    def __init__(self, stack: str) -> None:
        super().__init__()
        self.stack = stack


Check = Callable[[Values], Iterator[Problem]]
_CHECKS: list[Check] = []


def cross_checks(values: Values) -> Iterator[Problem]:
    """Yield what the values have wrong together."""
    for check in _CHECKS:
        with suppress(KeyError):
            yield from check(values)


def _check(function: Check) -> Check:
    _CHECKS.append(function)
    return function


def _problem(key: str, sentence: str, value: object = None) -> Problem:
    return Problem(key, f"`{key}` {sentence}", keys()[key].mend(value))


@_check
def _stack_name(values: Values) -> Iterator[Problem]:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", values.stack):
        yield Problem(
            "",
            f"the stack's name `{values.stack}` stands in names of buckets and roles: lower-case "
            "letters, digits and hyphens, at most 16",
            "pulumi stack rename prod",
        )


@_check
def _residency(values: Values) -> Iterator[Problem]:
    if values["region"] not in EEA_REGIONS and values["transferBasis"] is None:
        yield _problem(
            "transferBasis",
            f"is missing: `{values['region']}` lies outside of the EU and the EEA, and GDPR "
            "articles 44 to 49 want a legal basis for the transfer",
        )


@_check
def _copy_residency(values: Values) -> Iterator[Problem]:
    copy = values["backupCopyRegion"]
    if copy is None:
        if values["profile"] == "ha":
            yield _problem(
                "backupCopyRegion", "is missing: `ha` keeps its snapshots in two regions"
            )
        return
    if copy == values["region"]:
        yield _problem("backupCopyRegion", "is the region itself: a copy belongs elsewhere")
    if copy not in EEA_REGIONS and values["transferBasis"] is None:
        yield _problem("backupCopyRegion", f"`{copy}` lies outside of the EU and the EEA")
    if partition_of(copy) != values["partition"]:
        yield _problem("backupCopyRegion", "is in another partition: AWS copies nothing across")


@_check
def _partition(values: Values) -> Iterator[Problem]:
    expected = partition_of(values["region"])
    if values["partition"] != expected:
        yield _problem("partition", f"does not hold `{values['region']}`", expected)


@_check
def _zones(values: Values) -> Iterator[Problem]:
    zones, region = values["zones"], values["region"]
    for place, zone in enumerate(zones):
        if not zone.startswith(region):
            yield _problem(
                "zones",
                f"has `{zone}` at {place}, which is not in `{region}`",
                [region + letter for letter in "abc"[: len(zones)]],
            )
    if len(set(zones)) != len(zones):
        yield _problem("zones", "names a zone twice", [region + letter for letter in "abc"])


@_check
def _cidr(values: Values) -> Iterator[Problem]:
    try:
        network = ipaddress.IPv4Network(values["cidr"])
    except ValueError:
        yield _problem("cidr", f"`{values['cidr']}` is no network: its host bits must be 0")
        return
    private = [
        ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    ]
    if not any(network.subnet_of(allowed) for allowed in private):
        yield _problem("cidr", f"`{network}` is not private (RFC 1918)")


@_check
def _ephemeral(values: Values) -> Iterator[Problem]:
    if values["ephemeral"] and re.search(r"(^|-)(prod|production|live)(-|$)", values.stack):
        yield _problem(
            "ephemeral", f"is refused for `{values.stack}`: its data could be destroyed", False
        )


@_check
def _lock(values: Values) -> Iterator[Problem]:
    if values["backupLockDays"] > values["backupDays"]:
        yield _problem(
            "backupLockDays",
            f"is more than `backupDays`: nothing could go after {values['backupDays']} days",
            values["backupDays"],
        )


def _sizes(key: str) -> Check:
    def check(values: Values) -> Iterator[Problem]:
        family = values[key].split(".")[0]
        arm = re.fullmatch(r"[a-z]+[0-9]+[a-z]*g[a-z]*", family) is not None or family == "a1"
        if arm != (values["architecture"] == "arm64"):
            wanted = values["architecture"]
            other = values[key].replace(family, "t4g" if wanted == "arm64" else "t3")
            yield _problem(key, f"`{values[key]}` does not run `{wanted}`", other)

    return check


_CHECKS += [_sizes(name) for name in keys() if name.endswith("Size")]


def _generations(area: str) -> Check:
    def check(values: Values) -> Iterator[Problem]:
        key, active = f"{area}Generations", f"{area}Active"
        found: tuple[Generation, ...] = values[key]
        names = [generation.name for generation in found]
        if len(set(names)) != len(names):
            yield _problem(key, "names a generation twice")
        for place, generation in enumerate(found):
            mend = f"pulumi config set --path '{key}[{place}]' '{generation.name}=SNAPSHOT'"
            if generation.number > 1 and generation.snapshot is None:
                yield Problem(
                    key,
                    f"`{key}[{place}]` has no snapshot: `{generation.name}` would begin empty",
                    mend,
                )
            if generation.zone is not None and generation.zone not in values["zones"]:
                yield Problem(
                    key, f"`{key}[{place}]` is in a zone that `zones` does not name", mend
                )
        if values[active] not in names:
            yield _problem(active, f"`{values[active]}` is not among `{key}`", names[-1])
        managed = area == "db" and values["dbForm"] == "rds"
        for place, generation in enumerate(found):
            if generation.version is not None and not managed:
                yield Problem(
                    key,
                    f"`{key}[{place}]` names a version, which only a managed database has",
                    f"pulumi config set --path '{key}[{place}]' '{generation.name}=SNAPSHOT'",
                )
        for place, generation in enumerate(found):
            snapshot = generation.snapshot or ""
            if snapshot and not managed and not re.fullmatch(r"snap-[0-9a-f]{8,17}", snapshot):
                yield Problem(
                    key,
                    f"`{key}[{place}]` does not name a snapshot of a volume",
                    f"pulumi config set --path '{key}[{place}]' "
                    f"{generation.name}=snap-0123456789abcdef0",
                )

    return check


_CHECKS += [_generations(area) for area in ("web", "db", "mail")]


@_check
def _web(values: Values) -> Iterator[Problem]:
    low, high = values["webMinimum"], values["webMaximum"]
    if values["webData"] == "volume":
        if values["profile"] == "ha":
            yield _problem("webData", "is refused by `ha`: one volume is in one zone", "none")
        if "webMinimum" in values and low != 1:
            yield _problem("webMinimum", "must be 1: one volume serves one machine", 1)
        if high != 1:
            yield _problem("webMaximum", "must be 1: one volume serves one machine", 1)
    elif not 1 <= low <= high:
        yield _problem("webMinimum", f"is not between 1 and `webMaximum`, {high}", 1)


@_check
def _certificate(values: Values) -> Iterator[Problem]:
    if values["dnsZoneId"] is None and values["webCertificate"] is None:
        yield _problem(
            "dnsZoneId",
            "is missing: without it the certificate cannot be validated (or bring one, in "
            "`webCertificate`)",
        )


@_check
def _mail_server(values: Values) -> Iterator[Problem]:
    if values["mailForm"] != "server":
        return
    if values["mailDelivery"] == "relay" and values["mailRelayHost"] is None:
        yield _problem("mailRelayHost", "is missing: the mail server hands everything to it")
    if values["mailDelivery"] == "direct" and not values["mailPort25Unblocked"]:
        yield _problem(
            "mailPort25Unblocked",
            "is not set: AWS blocks port 25 until it has granted a request",
            True,
        )


@_check
def _domain(values: Values) -> Iterator[Problem]:
    if values["webDomain"] == values["mailDomain"]:
        yield _problem(
            "mailDomain",
            "is `webDomain`: the site's host name cannot carry the mail's records",
            "mail." + values["webDomain"].split(".", 1)[1],
        )


@_check
def _mta_sts(values: Values) -> Iterator[Problem]:
    if values["mailInboundMx"] and values["dnsZoneId"] is None:
        yield _problem("dnsZoneId", "is missing: MTA-STS needs records and a certificate")


@_check
def _release(values: Values) -> Iterator[Problem]:
    if values["release"] != "none" and values["releaseSha256"] is None:
        yield _problem("releaseSha256", "is missing: nothing is installed that is not pinned")


@_check
def _recipients(values: Values) -> Iterator[Problem]:
    fingerprints = [one.partition("=")[2] for one in values["backupRecipients"]]
    names = [one.partition("=")[0] for one in values["backupRecipients"]]
    if values["release"] != "none" and not fingerprints:
        yield _problem(
            "backupRecipients", "is missing: a machine that encrypts to nobody makes no backup"
        )
    elif len(fingerprints) == 1:
        yield _problem(
            "backupRecipients",
            "has one key: when it is lost, so is every backup; one belongs into a safe",
        )
    for what in (names, fingerprints):
        if len(set(what)) != len(what):
            yield _problem("backupRecipients", "names somebody twice")
            return


@_check
def _roots(values: Values) -> Iterator[Problem]:
    if values["release"] != "none" and not values["backupRoots"]:
        yield _problem(
            "backupRoots", "is missing: no machine's backups would ever count as its own"
        )


@_check
def _break_glass(values: Values) -> Iterator[Problem]:
    if not values["breakGlassUsers"] and values["breakGlassPermissionSet"] is None:
        yield _problem(
            "breakGlassUsers",
            "is missing: somebody must be able to delete a locked backup (an erasure order, a "
            "leaked key), or name a `breakGlassPermissionSet`",
        )


@_check
def _suffix(values: Values) -> Iterator[Problem]:
    certificate = values["webCertificate"]
    if certificate is not None and not certificate.startswith(f"arn:{values['partition']}:"):
        yield _problem("webCertificate", f"is not in partition `{values['partition']}`")
    assert values["partition"] in DNS_SUFFIXES
