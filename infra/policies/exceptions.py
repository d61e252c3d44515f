"""Where a rule is knowingly not kept, and why. One that excuses nothing fails the tests."""

from infra.policies.rule import Excuse

EXCEPTIONS: tuple[Excuse, ...] = (
    Excuse(
        "requests-are-logged",
        "lb:LoadBalancer *",
        "a balancer's log holds every visitor's address and cannot be scrubbed; the webserver's "
        "own log is scrubbed and shipped, and the firewall logs what it stopped",
    ),
    Excuse(
        "logs-end",
        "cloudwatch:LogGroup sessions",
        "what operators typed is evidence, and holds no visitor's address unless it was typed: 90 "
        "days",
    ),
    Excuse(
        "logs-end",
        "cloudwatch:LogGroup trail",
        "the trail names operators, not visitors, and an intrusion is often found after weeks: 90 "
        "days",
    ),
)
