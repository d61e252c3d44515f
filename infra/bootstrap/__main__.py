"""The Pulumi program of the account: run once, before the first stack."""

import sys
from pathlib import Path

import pulumi

_HERE = Path(__file__).resolve().parent
sys.path[:] = [
    str(_HERE.parent.parent),
    *(entry for entry in sys.path if Path(entry).resolve() != _HERE),
]

from infra.bootstrap.build import build  # noqa: E402
from infra.bootstrap.config import PROJECT, parse  # noqa: E402
from infra.config import ConfigError  # noqa: E402
from infra.config.load import given  # noqa: E402


def main() -> None:
    """Build what the account has once."""
    try:
        config = parse(given(PROJECT))
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from None
    build(config).export()


if __name__ == "__main__":
    main()
