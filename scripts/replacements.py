"""Writes docs/replacements.md anew, with Terraform and the AWS provider of this machine.

scripts/replacements.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fixtures.terraform import find
from tests.infra import replacement


def main() -> int:
    """Write the page; return 1 when there is no Terraform or no provider here."""
    with tempfile.TemporaryDirectory() as folder:
        terraform = find(Path(folder))
        if isinstance(terraform, str):
            print(terraform, file=sys.stderr)
            return 1
        found = replacement.matrix(terraform, Path(folder))
        replacement.PAGE.write_text(replacement.page(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
