"""`make fuzz`: the kernel against the reference and the scan's formats, for as long as asked.

python -m tests.fuzz [SECONDS]
"""

from __future__ import annotations

import secrets
import sys
import time

from agent.logs.scrub.kernel import trial
from tests.fuzz import addresses, compare, distinct, requests

_BLOCKS = 500
_ADDRESSES = 10_000_000


def main() -> int:
    """Return 1 when something promised does not hold, after printing how to see it again."""
    reason = trial()
    if reason is not None:
        print(f"nothing to hold to the reference: {reason}")
        return 1
    left = addresses.left_over(_ADDRESSES, secrets.randbits(48))
    print(f"{_ADDRESSES} generated addresses, {len(left)} left over")
    for line in left[:5]:
        print(f"  {line!r}")
    if left:
        return 1
    if not _distinct():
        return 1
    until = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else 600)
    blocks = 0
    while time.monotonic() < until:
        seed = secrets.randbits(48)
        found = compare.search(seed, _BLOCKS) or compare.search_twice(seed, 10 * _BLOCKS)
        if found is not None:
            print(f"seed {seed}: {found.what}\n  {found.block!r}\n  {found.settings!r}")
            return 1
        otherwise = requests.search(seed, 4 * _BLOCKS)
        if otherwise is not None:
            print(f"seed {seed}, scan: {otherwise}")
            return 1
        blocks += _BLOCKS
    print(f"{blocks} blocks and {4 * blocks} lines of access logs, no difference")
    return 0


def _distinct() -> bool:
    done = distinct.scrub(_ADDRESSES)
    print(done.sentence())
    for line in done.wrong:
        print(f"  {line}")
    return not done.wrong and done.tokens == done.addresses and done.memory <= distinct.MOST_MEMORY


if __name__ == "__main__":
    sys.exit(main())
