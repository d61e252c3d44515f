"""The section `[logs.scrub]`: what is taken out of log lines, and what stands there instead."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, field_validator

from agent.config.section import Section

Mode = Literal["truncate", "pseudonym", "remove"]
Optional = Literal["email", "parameter", "path", "credential", "user", "mac", "name"]
OPTIONAL_KINDS: tuple[Optional, ...] = get_args(Optional)
_PREFIXES = {"default": (24, 48), "strict": (16, 32)}

PARAMETERS = (
    "access_token",
    "address",
    "api_key",
    "apikey",
    "auth",
    "auth_token",
    "authenticity_token",
    "birthdate",
    "birthday",
    "client_secret",
    "confirmation_token",
    "csrf",
    "csrf_token",
    "csrfmiddlewaretoken",
    "dob",
    "e-mail",
    "email",
    "email_address",
    "family_name",
    "first_name",
    "firstname",
    "full_name",
    "fullname",
    "given_name",
    "iban",
    "id_token",
    "invitation_token",
    "jsessionid",
    "jwt",
    "key",
    "last_name",
    "lastname",
    "login",
    "mail",
    "message-id",
    "mobile",
    "msisdn",
    "oauth_token",
    "otp",
    "pass",
    "passwd",
    "password",
    "password_confirmation",
    "phone",
    "phpsessid",
    "pwd",
    "refresh_token",
    "remote_user",
    "reset_password_token",
    "reset_token",
    "sasl_username",
    "secret",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "ssn",
    "street",
    "surname",
    "tel",
    "telephone",
    "ticket",
    "token",
    "unlock_token",
    "user",
    "user_id",
    "userid",
    "username",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
)
PATHS = (
    "/activate/",
    "/confirm/",
    "/invitation/",
    "/invite/",
    "/magic-link/",
    "/password-reset/",
    "/password/reset/",
    "/reset-password/",
    "/reset/",
    "/unsubscribe/",
    "/verify/",
)


class Scrub(Section):
    """What happens to addresses and other personal data in log lines."""

    mode: Mode = Field(
        "truncate",
        description="`truncate` cuts addresses to their network and removes the rest, `pseudonym` "
        "puts a keyed token in its place, `remove` the name of its kind.",
        examples=["truncate"],
    )
    preset: Literal["default", "strict"] = Field(
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
        ipv4, ipv6 = _PREFIXES[self.preset]
        return (
            ipv4 if self.ipv4_prefix is None else self.ipv4_prefix,
            ipv6 if self.ipv6_prefix is None else self.ipv6_prefix,
        )

    @field_validator("exempt_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text)
            except ValueError:
                raise ValueError("holds something that is no network, such as 10.0.0.0/8") from None
        return value

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError("may hold letters, digits, `-` and `_` only")
            if name != name.lower() or len(name) > 64:
                raise ValueError("must be in lower case and at most 64 characters long")
        return value

    @field_validator("path_prefixes")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            fit = 2 < len(path) <= 64 and path[0] == path[-1] == "/" and path.isascii()
            if not fit or not path.isprintable() or set(path) & set(' "%\\#?&'):
                raise ValueError("must begin and end with `/` and hold no escapes")
        return value
