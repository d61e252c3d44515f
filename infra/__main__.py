"""The Pulumi program: load the stack's configuration, build it, export what it tells."""

import gc
import sys
from pathlib import Path

# A quarter of the run went into collecting the SDK's tens of thousands of classes, of which none
# ever goes: the process lives for seconds.
gc.disable()

import pulumi  # noqa: E402

# Pulumi runs a program with the program's own folder on the path: `infra.` would not be found, and
# a module here that is called like one of the standard library would be found instead.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != _HERE)]

from infra.build import build  # noqa: E402
from infra.config import ConfigError, load  # noqa: E402


def main() -> None:
    """Build the stack that Pulumi has selected."""
    try:
        config = load(pulumi.get_stack())
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from None
    build(config).export()


if __name__ == "__main__":
    main()
