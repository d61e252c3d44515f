"""The section `[health]`: what is to be true of this host."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from agent.config.section import Section


class Listener(Section):
    """A port that should listen. One that listens and is not named here is a finding."""

    port: int = Field(ge=1, le=65535, description="The port.", examples=[443])
    protocol: Literal["tcp", "udp"] = Field("tcp", description="Its protocol.", examples=["tcp"])
    program: str | None = Field(
        None, description="Name of the process that may hold it.", examples=["nginx"]
    )


class Certificate(Section):
    """A certificate whose end is to be seen coming: in a file, or as a server presents it."""

    file: Path | None = Field(
        None, description="A PEM file.", examples=["/etc/ssl/certs/www.example.org.pem"]
    )
    server: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$",
        description="Host name and port that serve it.",
        examples=["www.example.org:443"],
    )


class Health(Section):
    """What `art32 health` looks at, and from when on it says so."""

    mounts: tuple[Path, ...] = Field(
        (Path("/"),),
        description="Places on the file systems to watch.",
        examples=[["/", "/var/lib/postgresql"]],
    )
    disk_warn_percent: int = Field(
        80,
        ge=1,
        le=100,
        description="Warn when a disk is that full, bytes or inodes.",
        examples=[80],
    )
    disk_fail_percent: int = Field(
        92, ge=1, le=100, description="Fail when a disk is that full.", examples=[92]
    )
    disk_full_within_hours: float = Field(
        24,
        gt=0,
        description="Fail when the trend of the last hours fills a disk within this time.",
        examples=[24],
    )
    memory_fail_percent: int = Field(
        95, ge=1, le=100, description="Fail when so much of the memory is in use.", examples=[95]
    )
    pressure_warn_percent: float = Field(
        20,
        gt=0,
        le=100,
        description="Warn when tasks stood still for so much of five minutes, waiting for memory, "
        "disk or processor (PSI).",
        examples=[20],
    )
    listeners: tuple[Listener, ...] = Field((), description="The ports that should listen.")
    check_listeners: bool = Field(
        True,
        description="Whether a port that is not named is a finding; loopback addresses never are.",
        examples=[True],
    )
    updates_fail_hours: float = Field(
        72,
        gt=0,
        description="Fail when a security update has been waiting for so long since this host "
        "first saw it.",
        examples=[72],
    )
    reboot_fail_hours: float = Field(
        168, gt=0, description="Fail when a reboot has been wanted for so long.", examples=[168]
    )
    backup_fail_hours: float = Field(
        26, gt=0, description="Fail when a source's newest good backup is older.", examples=[26]
    )
    certificates: tuple[Certificate, ...] = Field((), description="Certificates to watch.")
    certificate_warn_days: int = Field(
        21, ge=1, description="Warn so many days before one ends; fail at a third.", examples=[21]
    )
    units: tuple[str, ...] = Field(
        (), description="systemd units that must be active.", examples=[["nginx.service"]]
    )
    clock_required: bool = Field(
        True, description="Whether the clock must be synchronised.", examples=[True]
    )
    raw_logs_warn_hours: float = Field(
        1,
        gt=0,
        description="Warn when a raw segment of a log has waited for so long.",
        examples=[1],
    )
    check_logins: bool = Field(
        True,
        description="Whether failed logins are counted, in the journal or in /var/log/auth.log.",
        examples=[True],
    )
    failed_logins_minutes: int = Field(
        15, ge=1, le=1440, description="Over how many minutes they are counted.", examples=[15]
    )
    failed_logins_warn: int = Field(
        20, ge=1, description="Warn when so many logins have failed in that time.", examples=[20]
    )
    failed_logins_fail: int = Field(
        200,
        ge=1,
        description="Fail when so many have: somebody guesses on and on, and nothing stops it.",
        examples=[200],
    )
