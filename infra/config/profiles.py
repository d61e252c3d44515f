"""What a profile stands for: defaults by key. A key that is set wins over its profile.

`small` is one of everything, `standard` survives the loss of a machine without a person,
in `ha` site and database survive the loss of a zone. No profile has more than one way out, a NAT
gateway in the first of `zones`. Instance types depend on the architecture.
"""

from __future__ import annotations

from collections.abc import Mapping

Value = str | int | bool | list[str]

_SHARED: dict[str, Value] = {
    "architecture": "arm64",
    "cidr": "10.32.0.0/16",
    "interfaceEndpoints": "none",
    "webData": "none",
    "webMinimum": 1,
    "webMaximum": 2,
    "dbForm": "rds",
    "dbStandby": "none",
    "dbStorage": 20,
    "mailForm": "ses",
    "backupDays": 30,
    "logDays": 30,
}
_PROFILES: dict[str, dict[str, Value]] = {
    "small": {"dbClass": "db.t4g.micro", "monthlyBudget": 200},
    "standard": {"dbClass": "db.t4g.small", "dbStandby": "zone", "monthlyBudget": 400},
    "ha": {
        "interfaceEndpoints": "all",
        "webMinimum": 2,
        "webMaximum": 4,
        "dbClass": "db.m7g.large",
        "dbStandby": "zone",
        "dbStorage": 50,
        "monthlyBudget": 1200,
    },
}
_SIZES = {
    "small": {"webSize": "small", "dbSize": "small", "mailSize": "micro"},
    "standard": {"webSize": "medium", "dbSize": "medium", "mailSize": "small"},
    "ha": {"webSize": "medium", "dbSize": "large", "mailSize": "small"},
}
_MACHINES = {"keeperSize": "micro", "dumperSize": "micro", "restorerSize": "medium"}
PROFILES = tuple(_PROFILES)


def defaults(profile: str, architecture: str, *, ephemeral: bool) -> Mapping[str, Value]:
    """Return the value of every key that a profile decides."""
    family = "t3" if architecture == "amd64" else "t4g"
    sizes = {key: f"{family}.{size}" for key, size in {**_SIZES[profile], **_MACHINES}.items()}
    lock: dict[str, Value] = {"backupLockDays": 1 if ephemeral else 30}
    return {**_SHARED, **_PROFILES[profile], **sizes, **lock}
