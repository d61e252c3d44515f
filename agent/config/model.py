"""The agent's configuration file as one model: `/etc/art32/agent.toml`.

Descriptions and examples here are the reference, the sample file and the JSON schema. `infra`
renders a host's file from this very model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, field_validator, model_validator

from agent.config.drill import Drill
from agent.config.health import Health
from agent.config.logs import Logs
from agent.config.report import Report
from agent.config.restore import Restore as Restore
from agent.config.retention import Retention as Retention
from agent.config.section import Section
from agent.config.service import Service
from agent.config.sources import AnySource
from agent.config.stores import DirectoryStore as DirectoryStore
from agent.config.stores import Prefix
from agent.config.stores import S3Store as S3Store
from agent.config.stores import StoreConfig as StoreConfig


def _fingerprint(text: str) -> str:
    return text.replace(" ", "").upper()


Fingerprint = Annotated[
    str,
    Field(
        pattern=r"^(?:[0-9A-F]{40}|[0-9A-F]{64})$",
        description="Full fingerprint of the primary key, 40 hexadecimal digits (64 for version 5 "
        "and 6 keys). Never a short key id, never an e-mail address.",
        examples=["0123456789ABCDEF0123456789ABCDEF01234567"],
    ),
]
_CREDENTIALS = Path("/etc/credstore")  # systemd-creds(1)
IDENTITY = r"^[A-Za-z0-9][A-Za-z0-9_.,:=@+-]{0,127}$"
HostName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="Stable name of the host's duty, as it stands in the store.",
        examples=["db1"],
    ),
]
# a lifecycle rule may expire what is under `logs/`
_RESERVED = ("enroll", "evidence", "logs", "pins", "probe", "wal")


def fingerprint_file(key_file: Path) -> Path:
    """Return where the fingerprint of a key stands that `host enrol` has made: beside it, or with
    the configuration where the key is a credential, which only root and its unit can see."""
    directory = Path("/etc/art32") if key_file.parent == _CREDENTIALS else key_file.parent
    return directory / f"{key_file.name}.fingerprint"


class PinnedKey(Section):
    """A public key that the configuration names by fingerprint and brings as a file."""

    fingerprint: Fingerprint
    key_file: Path = Field(description="The public key.", examples=["/etc/art32/operations.asc"])

    @field_validator("fingerprint", mode="before")
    @classmethod
    def _normalise(cls, value: object) -> object:
        return _fingerprint(value) if isinstance(value, str) else value


class Recipient(PinnedKey):
    """Somebody who can read the backups: the holder of this key's private half."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="What the key is for: `operations`, `escrow`, `drill`.",
        examples=["operations"],
    )


class Encryption(Section):
    """To whom backups are encrypted."""

    recipients: tuple[Recipient, ...] = Field(
        min_length=1, description="At least two: one for operations, one in escrow."
    )
    single_recipient_because: str | None = Field(
        None,
        min_length=10,
        description="Why one recipient is enough here, in words. One lost key is then the end of "
        "every backup.",
        examples=["the key is split among three people with ssss"],
    )

    @model_validator(mode="after")
    def _enough(self) -> Encryption:
        fingerprints = [recipient.fingerprint for recipient in self.recipients]
        if len(set(fingerprints)) != len(fingerprints):
            raise ValueError("the same key is listed twice")
        if len(fingerprints) < 2 and self.single_recipient_because is None:
            raise ValueError(
                "one recipient: a lost key loses every backup; add a second recipient (escrow), "
                "or say why one is enough in `single_recipient_because`"
            )
        return self


class Signing(Section):
    """The host's own signing key. Its private half never leaves the host."""

    fingerprint: Fingerprint | None = Field(
        None,
        description="Full fingerprint of the key. Left out, it is that of the key which "
        "`art32 host enrol` has made.",
        examples=["89ABCDEF0123456789ABCDEF0123456789ABCDEF"],
    )
    key_file: Path = Field(
        description="The private key, mode 0600, without a passphrase; on the machine's own disk, "
        "never on a volume that is copied.",
        examples=["/etc/art32/signing-key.asc"],
    )
    identity: str | None = Field(
        None,
        pattern=IDENTITY,
        description="Under which name below `enroll/` this machine may write. Left out: at AWS its "
        "`aws:userid`, elsewhere `host`.",
        examples=["db1"],
    )

    @field_validator("fingerprint", mode="before")
    @classmethod
    def _normalise(cls, value: object) -> object:
        return _fingerprint(value) if isinstance(value, str) else value

    @property
    def pinned(self) -> PinnedKey | None:
        """The key by fingerprint and file; None before it has been made."""
        if self.fingerprint is None:
            return None
        return PinnedKey(fingerprint=self.fingerprint, key_file=self.key_file)

    @property
    def fingerprint_file(self) -> Path:
        """Where `host enrol` notes the fingerprint of the key that it has made."""
        return fingerprint_file(self.key_file)

    @property
    def enrolment_file(self) -> Path:
        """Where `host enrol` keeps what it has published."""
        return self.fingerprint_file.with_suffix(".enrolment")


class Signer(PinnedKey):
    """A host whose signatures the keeper and the restorer accept."""

    host: HostName
    retired_after_sequence: int | None = Field(
        None,
        ge=0,
        description="Accept this key's backups up to this sequence number only: the host has a "
        "new key since.",
        examples=[412],
    )
    retired_at: AwareDatetime | None = Field(
        None,
        description="For a key with `retired_after_sequence`: accept its WAL, which has no "
        "sequence, as far as it was in the store by this moment, by the store's clock.",
        examples=["2026-11-23T03:15:00Z"],
    )


class Pins(Section):
    """The list of accepted hosts, which `art32 host accept` publishes in the store and a root key
    signs. For the keeper and the restorer; a host needs none of it."""

    roots: tuple[PinnedKey, ...] = Field(
        (), description="Whose signature makes a list count; two while one takes over."
    )
    minimum_serial: int = Field(
        0,
        ge=0,
        description="Take no list of a lower serial number: for a machine that is new and "
        "remembers none.",
        examples=[12],
    )
    valid_days: int = Field(
        90,
        ge=1,
        le=3660,
        description="How long a list that is published here vouches for what is stored.",
        examples=[90],
    )
    gnupg_home: Path | None = Field(
        None,
        description="GnuPG home with a root's private key, where hosts are accepted; by default "
        "that of the user.",
        examples=["/root/.gnupg"],
    )
    prefix: Prefix | None = Field(
        None,
        description="Where `pins/` and `enroll/` stand; by default the prefix of the store.",
        examples=["production"],
    )


class Wal(Section):
    """PostgreSQL's write-ahead log: the service that archive_command and restore_command ask."""

    socket: Path = Field(
        Path("/run/art32/wal.sock"),
        description="Where it listens, unless systemd does that for it.",
        examples=["/run/art32/wal.sock"],
    )
    clients: tuple[str, ...] = Field(
        ("postgres",),
        description="Users whose processes may ask: those of the server.",
        examples=[["postgres"]],
    )
    signing: Signing | None = Field(
        None,
        description="A signing key of the service's own, which `art32 host enrol` makes and "
        "publishes too; without it that of the host. Accepted, it counts for the write-ahead log "
        "of this host and for nothing else.",
    )
    workers: int = Field(
        3, ge=1, le=32, description="How many segments are under way at once.", examples=[3]
    )
    hosts: tuple[HostName, ...] = Field(
        (),
        description="On the restorer: whose archives `wal fetch` looks into, more than one after a "
        "failover; by default that of `host`.",
        examples=[["db1", "db2"]],
    )
    source: str | None = Field(
        None,
        description="Name of a source of PostgreSQL by whose connection health asks the server how "
        "far its archiver is behind; the role needs `pg_monitor`.",
        examples=["app"],
    )
    monitor: str | None = Field(
        None,
        description="Another role than that of `source` to ask as: one with `pg_monitor` and no "
        "right to any data.",
        examples=["art32_monitor"],
    )
    fail_seconds: float = Field(
        60,
        gt=0,
        description="Health fails when a segment has waited in pg_wal for so many seconds, and "
        "warns at half of it: what waits is lost with the host.",
        examples=[60],
    )
    fail_bytes: int = Field(
        4 << 30,
        gt=0,
        description="Health fails when pg_wal is larger.",
        examples=[4294967296],
    )


class Configuration(Section):
    """The whole file."""

    host: HostName
    state_directory: Path = Field(
        Path("/var/lib/art32"),
        description="Ledger and locks.",
        examples=["/var/lib/art32"],
    )
    store: StoreConfig
    encryption: Encryption | None = Field(None, description="Needed to back up.")
    signing: Signing | None = Field(None, description="Needed to back up.")
    signers: tuple[Signer, ...] = Field(
        (), description="Whose backups to accept, besides this host's own."
    )
    pins: Pins = Field(default_factory=lambda: Pins())
    sources: tuple[AnySource, ...] = Field((), description="What to back up.")
    retention: Retention = Field(default_factory=lambda: Retention())
    restore: Restore = Field(default_factory=lambda: Restore())
    drill: Drill = Field(default_factory=lambda: Drill())
    wal: Wal | None = Field(None, description="Where PostgreSQL archives its write-ahead log.")
    health: Health = Field(default_factory=lambda: Health())
    logs: Logs = Field(default_factory=lambda: Logs())
    service: Service = Field(default_factory=lambda: Service())
    report: Report = Field(default_factory=lambda: Report())

    @field_validator("host")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in _RESERVED:
            raise ValueError("is a directory of the store with a meaning of its own")
        return value

    @model_validator(mode="after")
    def _distinct(self) -> Configuration:
        names = [source.name for source in self.sources]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"two sources are named {', '.join(f'`{name}`' for name in doubled)}")
        for name in names:
            if f"{self.host}/{name}" in self.retention.retired:
                raise ValueError(f"`{name}` is in `sources` and in `retention.retired`")
        for what, there in (("sources", self.sources), ("logs.rotate", self.logs.rotate)):
            if there and (self.encryption is None or self.signing is None):
                raise ValueError(f"`{what}` needs `encryption` and `signing`")
        source = self.wal.source if self.wal is not None else None
        if source is not None and source not in names:
            raise ValueError(f"`wal.source` names `{source}`, and there is no such source")
        if self.encryption is not None and self.signing is not None:
            readers = {recipient.fingerprint for recipient in self.encryption.recipients}
            if self.signing.fingerprint in readers:
                raise ValueError(
                    "the signing key is a recipient too: a host must not read its own backups"
                )
        return self
