"""The sections `[logs.scan]` and `[logs.watch]`: what is looked for, where, and what follows."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from agent.config.section import Section


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=True))


Network = Annotated[str, AfterValidator(_network)]
LogFormat = Literal["auto", "combined", "json", "syslog", "sshd"]


class Bans(Section):
    """Decisions for another program to carry out. Only failed logins over SSH and mail may ban."""

    mode: Literal["off", "dry-run", "on"] = Field(
        "off",
        description="`dry-run` records what would be banned, `on` also writes `file`.",
        examples=["dry-run"],
    )
    file: Path = Field(
        Path("/var/lib/art32/scan/bans.txt"),
        description="One network a line, mode 0600, for fail2ban, CrowdSec or nft to read. "
        "Art32 itself blocks nothing.",
        examples=["/var/lib/art32/scan/bans.txt"],
    )
    minutes: int = Field(60, ge=1, le=60, description="How long a ban lasts.", examples=[60])
    per_minute: int = Field(
        50,
        ge=1,
        le=50,
        description="More new bans than this in a minute stop all banning until a person has "
        "looked: somebody may be using it against your visitors.",
        examples=[50],
    )


class Scan(Section):
    """Attacks found in raw lines, in memory, before anything is scrubbed."""

    engine: Literal["auto", "hyperscan", "re"] = Field(
        "auto",
        description="`auto` takes hyperscan when it is installed (extra `logs`), else Python's "
        "`re`, which finds the same and is slower by far.",
        examples=["auto"],
    )
    rules_directory: Path | None = Field(
        None,
        description="Your own rules: `*.toml` files of the shape of Art32's.",
        examples=["/etc/art32/rules.d"],
    )
    disabled_rules: tuple[str, ...] = Field(
        (), description="Rules to leave out, by their id.", examples=[["http-crawler"]]
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Balancers and proxies of your own. Only from these is X-Forwarded-For "
        "believed, and they are never banned.",
        examples=[["10.0.0.0/24"]],
    )
    exempt_networks: tuple[Network, ...] = Field(
        (),
        description="Your own networks: attacks from there are reported, never banned. Loopback "
        "and link-local addresses always belong to them.",
        examples=[["198.51.100.0/24", "2001:db8:10::/48"]],
    )
    directory: Path = Field(
        Path("/var/lib/art32/scan"),
        description="Findings, daily records and the state for health; mode 0700. It holds raw "
        "addresses of those who attacked, until their findings expire.",
        examples=["/var/lib/art32/scan"],
    )
    tracked_addresses: int = Field(
        16_384,
        ge=256,
        le=1_000_000,
        description="For how many addresses each rule counts at a time. When more come, those "
        "seen once are forgotten first, and the digest says so.",
        examples=[16384],
    )
    bans: Bans = Field(default_factory=lambda: Bans(), description="Off by default.")


class WatchedFile(Section):
    """A log file, or a pattern of names, that `art32 logs watch` follows."""

    path: Path = Field(
        description="The file; `*` stands for any part of its name.",
        examples=["/var/log/nginx/access.log"],
    )
    format: LogFormat = Field(
        "auto",
        description="What its lines look like. Bans come only from a file whose format is said: "
        "`syslog` or `sshd`.",
        examples=["combined"],
    )


class Watch(Section):
    """Files to follow, through rotation and truncation."""

    files: tuple[WatchedFile, ...] = Field((), description="What to follow.")
    rescan_seconds: float = Field(
        10,
        ge=0.2,
        le=3600,
        description="How often every file is looked at even when nothing was reported about it: "
        "the kernel drops reports when too many come.",
        examples=[10],
    )
    checkpoint_seconds: float = Field(
        5,
        ge=0.2,
        le=3600,
        description="How often offsets and counters are made durable; after a kill at most this "
        "much is read again.",
        examples=[5],
    )
