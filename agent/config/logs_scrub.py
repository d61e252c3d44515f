"""The section `[logs.scrub]`: what is taken out of log lines, and what stands there instead."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from agent.config.scrubbing import (
    CHECKS,
    PARAMETERS,
    PATHS,
    Mode,
    Optional,
    Preset,
    chosen_prefixes,
)
from agent.config.section import Section


class Scrub(Section):
    """What happens to addresses and other personal data in log lines."""

    mode: Mode = Field(
        "truncate",
        description="`truncate` cuts addresses to their network and removes the rest, `pseudonym` "
        "puts a keyed token in its place, `remove` the name of its kind.",
        examples=["truncate"],
    )
    preset: Preset = Field(
        "default",
        description="How much of an address `truncate` keeps: 24 bits of IPv4 and 48 of IPv6, or "
        "under `strict` 16 and 32.",
        examples=["strict"],
    )
    ipv4_prefix: int | None = Field(
        None, ge=0, le=24, description="Bits of IPv4 to keep instead.", examples=[24]
    )
    ipv6_prefix: int | None = Field(
        None, ge=0, le=64, description="Bits of IPv6 to keep instead.", examples=[48]
    )
    exempt_networks: tuple[str, ...] = Field(
        (),
        description="Networks whose addresses stay: your own, never your users'.",
        examples=[["10.0.0.0/8", "2001:db8:1::/48"]],
    )
    own_names: tuple[str, ...] = Field(
        (),
        description="Host names that stay although they hold an address; this host's own always "
        "does.",
        examples=[["ip-10-0-1-23.eu-central-1.compute.internal"]],
    )
    leave: tuple[Optional, ...] = Field(
        (),
        description="Kinds that stay as they are. Addresses never do.",
        examples=[["user"]],
    )
    email_domain: bool = Field(
        False, description="Keep the domain of e-mail addresses.", examples=[True]
    )
    parameters: tuple[str, ...] = Field(
        PARAMETERS,
        description="Names of query parameters, `name=value` pairs and JSON strings whose value "
        "goes; in lower case.",
        examples=[["email", "token"]],
    )
    path_prefixes: tuple[str, ...] = Field(
        PATHS,
        description="After these the next segment of a path is a secret.",
        examples=[["/reset/"]],
    )
    key_directory: Path | None = Field(
        None,
        description="Where all processes of one user of this host share the key of a day under "
        "`pseudonym`, so that one client has one token that day, after restarts too: in memory, "
        "below `/run`. Without it Art32's systemd units share theirs in `/run/art32-logs/keys`, "
        "and any other process has a key of its own, which nobody can read and which is gone with "
        "it: `config check`, `doctor` and `logs rotate` say so.",
        examples=["/run/art32/log-keys"],
    )
    cut_length: int | None = Field(
        None,
        ge=16,
        description="Length at which the writer cuts its lines, in bytes (HAProxy's `len` 1024, "
        "nginx's error log 2048): in a line at least that long the beginning of an address at the "
        "very end goes too.",
        examples=[2047],
    )

    @property
    def prefixes(self) -> tuple[int, int]:
        """Bits of IPv4 and IPv6 that `truncate` keeps."""
        return chosen_prefixes(self.preset, self.ipv4_prefix, self.ipv6_prefix)

    @field_validator(*CHECKS)
    @classmethod
    def _checked(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        CHECKS[str(info.field_name)](value)
        return value
