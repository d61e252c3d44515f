"""Where a rule is knowingly not kept, and why. One that excuses nothing fails the tests."""

from infra.policies.rule import Excuse

EXCEPTIONS: tuple[Excuse, ...] = ()
