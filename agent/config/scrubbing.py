"""What is taken out of log lines and what stands there instead: defaults and checks.

`Settings` is what the scrubber needs. The section of the configuration (`logs_scrub.py`) has the
same attributes; this half needs no Pydantic, whose import takes as long as 50 MB take to scrub.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

Mode = Literal["truncate", "pseudonym", "remove"]
Optional = Literal["email", "parameter", "path", "credential", "user", "mac", "name"]
OPTIONAL_KINDS: tuple[Optional, ...] = get_args(Optional)
Preset = Literal["default", "strict"]
PREFIXES: dict[Preset, tuple[int, int]] = {"default": (24, 48), "strict": (16, 32)}

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


class Settings(Protocol):
    """What the scrubber asks for; `logs_scrub.Scrub` describes each of them."""

    @property
    def mode(self) -> Mode: ...
    @property
    def prefixes(self) -> tuple[int, int]: ...
    @property
    def exempt_networks(self) -> tuple[str, ...]: ...
    @property
    def own_names(self) -> tuple[str, ...]: ...
    @property
    def leave(self) -> tuple[Optional, ...]: ...
    @property
    def email_domain(self) -> bool: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...
    @property
    def path_prefixes(self) -> tuple[str, ...]: ...
    @property
    def key_directory(self) -> Path | None: ...
    @property
    def cut_length(self) -> int | None: ...


class InvalidSettingError(ValueError):
    """Says of the setting `name` what is wrong with it, without its value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


@dataclass(frozen=True)
class Defaults:
    """The settings without a configuration; raises InvalidSettingError for what is checked here.

    Types and ranges are for whoever gives them to vouch for.
    """

    mode: Mode = "truncate"
    preset: Preset = "default"
    ipv4_prefix: int | None = None
    ipv6_prefix: int | None = None
    exempt_networks: tuple[str, ...] = ()
    own_names: tuple[str, ...] = ()
    leave: tuple[Optional, ...] = ()
    email_domain: bool = False
    parameters: tuple[str, ...] = PARAMETERS
    path_prefixes: tuple[str, ...] = PATHS
    key_directory: Path | None = None
    cut_length: int | None = None

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            try:
                check(getattr(self, name))
            except ValueError as error:
                raise InvalidSettingError(name, str(error)) from None

    @property
    def prefixes(self) -> tuple[int, int]:
        """Bits of IPv4 and IPv6 that `truncate` keeps."""
        return chosen_prefixes(self.preset, self.ipv4_prefix, self.ipv6_prefix)


def chosen_prefixes(preset: Preset, ipv4: int | None, ipv6: int | None) -> tuple[int, int]:
    """Return how many bits of IPv4 and IPv6 stay: of the preset, unless they are given."""
    usual = PREFIXES[preset]
    return usual[0] if ipv4 is None else ipv4, usual[1] if ipv6 is None else ipv6


def check_networks(value: tuple[str, ...]) -> None:
    """Raise ValueError unless all are networks."""
    for text in value:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError("holds something that is no network, such as 10.0.0.0/8") from None


def check_parameters(value: tuple[str, ...]) -> None:
    """Raise ValueError unless all are names of parameters as the rules compare them."""
    for name in value:
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ValueError("may hold letters, digits, `-` and `_` only")
        if name != name.lower() or len(name) > 64:
            raise ValueError("must be in lower case and at most 64 characters long")


def check_paths(value: tuple[str, ...]) -> None:
    """Raise ValueError unless all are beginnings of paths as they stand in a line."""
    for path in value:
        fit = 2 < len(path) <= 64 and path[0] == path[-1] == "/" and path.isascii()
        if not fit or not path.isprintable() or set(path) & set(' "%\\#?&'):
            raise ValueError("must begin and end with `/` and hold no escapes")


CHECKS: Mapping[str, Callable[[tuple[str, ...]], None]] = {
    "exempt_networks": check_networks,
    "parameters": check_parameters,
    "path_prefixes": check_paths,
}
