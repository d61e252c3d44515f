"""A stack's configuration as one frozen model.

Keys are flat in Pulumi, grouped here: `dbStorage` is `config.db.storage`. Descriptions and examples
are the reference page and the `config:` block of Pulumi.yaml. Pulumi knows strings, integers,
booleans and lists of strings as types of its keys; there is nothing else here. A default lives in
`profiles.py` when the profile decides it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from infra.config.regions import DNS_SUFFIXES

_GENERATION = re.compile(
    r"^g(?P<number>[1-9][0-9]{0,3})(?:@(?P<zone>[a-z0-9-]+))?"
    r"(?:/(?P<version>1[4-8](?:\.[0-9]+)?))?(?:=(?P<snapshot>\S+))?$"
)


class Section(BaseModel):
    """A group of keys: frozen, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


@dataclass(frozen=True)
class Generation:
    """One life of a component's data: `g2@eu-central-1b=snap-0123456789abcdef0`.

    A restored database or volume is a new generation beside the old one: nothing is replaced, and
    the old one stays in the program until its runbook retires it. A managed database may move to a
    new major version of PostgreSQL with it: `g2/18=app-before-18`.
    """

    number: int
    zone: str | None = None
    snapshot: str | None = None
    version: str | None = None

    @property
    def name(self) -> str:
        """Return what stands in logical names and in the `...Active` keys: `g2`."""
        return f"g{self.number}"

    @classmethod
    def parse(cls, text: object) -> Generation:
        """Return the generation that a text describes; raise ValueError."""
        if isinstance(text, Generation):
            return text
        found = _GENERATION.match(str(text))
        if found is None:
            raise ValueError(
                "is not of the form g2, g2=SNAPSHOT, g2@ZONE=SNAPSHOT or g2/VERSION=SNAPSHOT"
            )
        return cls(int(found["number"]), found["zone"], found["snapshot"], found["version"])


Generations = Annotated[
    tuple[Annotated[Generation, BeforeValidator(Generation.parse)], ...],
    Field(min_length=1, json_schema_extra={"list": "string"}),
]
GenerationName = Annotated[str, Field(pattern=r"^g[1-9][0-9]{0,3}$")]
InstanceType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$")]
Domain = Annotated[str, Field(pattern=r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$")]
EMail = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
RegionName = Annotated[str, Field(pattern=r"^[a-z]{2,4}(?:-[a-z]+)+-[0-9]$")]


def key(description: str, example: Any, default: Any = ...) -> Any:
    """Return the field of one key: what it means, what it looks like, what it is when unset."""
    return Field(default, description=description, examples=[example])


class Web(Section):
    """The webserver."""

    domain: Domain = key("Host name under which the site is served.", "app.example.org")
    size: InstanceType = key("Instance type of a webserver.", "t4g.medium")
    minimum: int = key("How many webservers at least.", 2)
    maximum: int = key(
        "How many webservers at most: above `webMinimum`, one more starts when they are busy.", 4
    )
    data: Literal["none", "volume"] = key(
        "`none`: webservers are stateless and any number of them may run. `volume`: exactly one, "
        "with a data volume that outlives it.",
        "volume",
    )
    storage: Annotated[int, Field(ge=1, le=16384)] = key("Size of the data volume in GiB.", 50, 20)
    generations: Generations = key("Lives of the data volume.", ["g1"], (Generation(1),))
    active: GenerationName = key("The generation that the webserver attaches.", "g1", "g1")
    certificate: Annotated[str, Field(pattern=r"^arn:[a-z-]+:acm:\S+$")] | None = key(
        "ARN of a certificate for `webDomain`; only needed without `dnsZoneId`.",
        "arn:aws:acm:eu-central-1:123456789012:certificate/0a1b2c3d",
        None,
    )
    request_limit: Annotated[int, Field(ge=10, le=2_000_000_000)] = key(
        "Requests from one address in five minutes, after which the firewall refuses it.",
        2000,
        2000,
    )


class Database(Section):
    """The database."""

    form: Literal["rds", "server"] = key(
        "`rds`: PostgreSQL as a managed service. `server`: PostgreSQL on a machine of its own.",
        "rds",
    )
    class_: Annotated[str, Field(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")] = key(
        "Instance class of the managed database.", "db.t4g.small"
    )
    size: InstanceType = key("Instance type of the database server.", "t4g.medium")
    storage: Annotated[int, Field(ge=20, le=16384)] = key("Size of the data in GiB.", 50)
    standby: Literal["none", "zone"] = key(
        "`zone`: the managed database keeps a standby in a second zone.", "zone"
    )
    version: Annotated[str, Field(pattern=r"^1[4-8](?:\.[0-9]+)?$")] = key(
        "Major version of PostgreSQL. A server takes Debian's own, 15. AWS refuses another one for "
        "a database that exists: that is a new generation, `g2/18=SNAPSHOT`.",
        "17",
        "17",
    )
    generations: Generations = key(
        "Lives of the database. A restore adds one and removes none. `g2/18=SNAPSHOT` is a managed "
        "database of another major version, from a snapshot that was brought to it: `aws rds "
        "modify-db-snapshot --engine-version`.",
        ["g1", "g2=rds:app-2026-11-23-03-15"],
        (Generation(1),),
    )
    active: GenerationName = key("The generation whose address the applications read.", "g2", "g1")


class Mail(Section):
    """Outgoing e-mail."""

    form: Literal["ses", "server"] = key(
        "`ses`: Amazon's service. `server`: Postfix on a machine of its own.", "ses"
    )
    domain: Domain = key(
        "Domain of the senders; a subdomain keeps the company's own mail out of it.",
        "mail.example.org",
    )
    size: InstanceType = key("Instance type of the mail server.", "t4g.micro")
    storage: Annotated[int, Field(ge=1, le=16384)] = key("Size of the queue's volume in GiB.", 8, 8)
    generations: Generations = key("Lives of the mail server.", ["g1"], (Generation(1),))
    active: GenerationName = key("The generation that the applications use.", "g1", "g1")
    relay_host: Domain | None = key(
        "Smarthost that the mail server hands everything to.", "smtp.example.net", None
    )
    relay_port: Literal[587, 465] = key("Port of the smarthost.", 587, 587)
    delivery: Literal["relay", "direct"] = key(
        "`relay`: through the smarthost. `direct`: to the recipients' servers on port 25, from an "
        "address of its own.",
        "relay",
        "relay",
    )
    port25_unblocked: bool = key(
        "AWS has lifted its block of port 25 for this account, on request. Needed for `direct`.",
        True,
        False,
    )
    dkim_public_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]{44,}$")] | None = key(
        "Public half of the mail server's DKIM key, base64; the private half goes into the empty "
        "secret that the stack makes.",
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA7v6y",
        None,
    )
    dmarc_reports: EMail | None = key("Where DMARC reports go.", "dmarc@example.org", None)
    inbound_mx: tuple[Domain, ...] = key(
        "Mail servers that receive for `domain`. Set it to have MTA-STS served, in mode `testing`; "
        "a wrong name here breaks the company's own incoming mail.",
        ["mx1.example.net"],
        (),
    )


class Backup(Section):
    """Backups and their copies."""

    days: Annotated[int, Field(ge=7, le=365)] = key("How long backups are kept, in days.", 30)
    lock_days: Annotated[int, Field(ge=1, le=365)] = key(
        "How long nobody can delete what was written to the backup bucket, in days.", 30
    )
    recipients: tuple[
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}=(?:[0-9A-F]{40}|[0-9A-F]{64})$")],
        ...,
    ] = key(
        "To whom machines encrypt, as `NAME=FINGERPRINT`, at least two. The public keys lie in the "
        "artifact bucket under `shared/keys/<fingerprint>.asc`.",
        [
            "operations=89ABCDEF0123456789ABCDEF0123456789ABCDEF",
            "escrow=FEDCBA9876543210FEDCBA9876543210FEDCBA98",
        ],
        (),
    )
    roots: tuple[Annotated[str, Field(pattern=r"^(?:[0-9A-F]{40}|[0-9A-F]{64})$")], ...] = key(
        "Fingerprints of the keys that sign the list of accepted machines; their public keys lie "
        "there too.",
        ["0123456789ABCDEF0123456789ABCDEF01234567"],
        (),
    )
    copy_region: RegionName | None = key(
        "Second region that snapshots are copied to. `ha` needs it.", "eu-west-1", None
    )


class Keeper(Section):
    """The machine that lists, verifies and deletes backups and holds no key."""

    size: InstanceType = key("Instance type of the keeper.", "t4g.micro")


class Restorer(Section):
    """The isolated machine that holds the private key while a restore runs."""

    size: InstanceType = key("Instance type of the restorer.", "t4g.medium")
    count: Annotated[int, Field(ge=0, le=1)] = key(
        "1 while a restore or a drill runs, else 0.", 1, 0
    )


class Dumper(Section):
    """The machine that dumps a managed database and encrypts the dump."""

    size: InstanceType = key("Instance type of the dumper.", "t4g.micro")


class BreakGlass(Section):
    """Who may delete locked backups, in an emergency and with a second factor."""

    users: tuple[Annotated[str, Field(pattern=r"^[\w+=,.@-]{1,64}$")], ...] = key(
        "Names of IAM users; each session needs its second factor.", ["alice", "bob"], ()
    )
    permission_set: Annotated[str, Field(pattern=r"^[\w+=,.@-]{1,32}$")] | None = key(
        "Permission set of IAM Identity Center. AWS does not tell whether such a session used a "
        "second factor: the identity provider must demand it.",
        "BreakGlass",
        None,
    )


class InfraConfig(Section):
    """A whole stack. Built by `parse`, never by hand."""

    stack: str
    """Name of the stack; not a key."""
    partition: Literal["aws", "aws-eusc"] = key(
        "Partition of the region; follows from it when unset.", "aws-eusc"
    )
    profile: Literal["small", "standard", "ha"] = key("Size and redundancy.", "standard")
    account_id: Annotated[str, Field(pattern=r"^[0-9]{12}$")] = key(
        "The AWS account that this stack may change, and no other.", "123456789012"
    )
    region: RegionName = key("Region of everything that holds personal data.", "eu-central-1")
    transfer_basis: Annotated[str, Field(min_length=10)] | None = key(
        "Legal basis of a transfer (GDPR, articles 44 to 49), in words. Needed for a region "
        "outside of the EU and the EEA.",
        "Art. 45: adequacy decision for the United Kingdom",
        None,
    )
    zones: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z]{2,4}(?:-[a-z]+)+-[0-9][a-z]$")], ...],
        Field(min_length=2, max_length=3),
    ] = key(
        "Two or three availability zones: load balancer and managed database exist in two at "
        "least. Single machines stand in the first.",
        ["eu-central-1a", "eu-central-1b"],
    )
    ami_id: Annotated[str, Field(pattern=r"^ami-[0-9a-f]{8,17}$")] = key(
        "Debian 12 for the architecture, from Debian's own account.", "ami-0123456789abcdef0"
    )
    architecture: Literal["arm64", "amd64"] = key("Processor of every machine.", "arm64")
    cidr: Annotated[str, Field(pattern=r"^[0-9.]+/16$")] = key(
        "Private network of the stack, a /16.", "10.32.0.0/16"
    )
    interface_endpoints: Literal["none", "all"] = key(
        "`all`: AWS' own services are reached inside of the network, at some 50 USD a month for "
        "each zone. `none`: through the one way out.",
        "none",
    )
    dns_zone_id: Annotated[str, Field(pattern=r"^Z[A-Z0-9]{1,31}$")] | None = key(
        "Public zone in Route 53 that `webDomain` and `mailDomain` lie in. Without it the records "
        "to make by hand are an output.",
        "Z0123456789ABCDEFGHIJ",
        None,
    )
    alarm_email: EMail = key(
        "Who is woken; the subscription must be confirmed.", "oncall@example.org"
    )
    monthly_budget: Annotated[int, Field(ge=1)] = key("Alarm above this cost, in USD.", 400)
    log_days: Literal[1, 3, 5, 7, 14, 30] = key(
        "How long logs with client addresses are kept, in days: CloudWatch knows these.", 30
    )
    organization_trail: bool = key(
        "The organisation records management events already; this stack's trail then records the "
        "backup bucket alone.",
        True,
        False,
    )
    ephemeral: bool = key(
        "A test stack that `pulumi destroy` removes with its data. Fixed at the first `up`, "
        "refused for production.",
        True,
        False,
    )
    rollbar: bool = key(
        "Errors and failing checks go to Rollbar, without personal data: the stack makes an empty "
        "secret for the project's access token.",
        True,
        False,
    )
    release: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$")] = key(
        "Which set of packages in the artifact bucket the machines install: `shared/<release>/`.",
        "0.1.0",
        "none",
    )
    release_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = key(
        "SHA-256 of `shared/<release>/SHA256SUMS`, which pins every package of the release.",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        None,
    )
    web: Web
    db: Database
    mail: Mail
    backup: Backup
    keeper: Keeper
    restorer: Restorer
    dumper: Dumper
    break_glass: BreakGlass

    @property
    def dns_suffix(self) -> str:
        """Return what host names and service principals of the partition end in."""
        return DNS_SUFFIXES[self.partition]

    @property
    def duties(self) -> tuple[str, ...]:
        """Return the names of the machines' duties: each is one role, one prefix, one firewall."""
        machines = ["web"]
        machines += ["db"] if self.db.form == "server" else ["dumper"]
        machines += ["mail"] if self.mail.form == "server" else []
        return (*machines, "keeper", "restorer")
