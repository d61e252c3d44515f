"""The evaluator decides as AWS documents it; every row is one sentence of that documentation."""

from __future__ import annotations

from typing import Any

import pytest

from infra.authorization import Request, Value, decide

ROLE = "arn:aws:iam::123456789012:role/web"
OBJECT = "arn:aws:s3:::backups/web/a"


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Sid": effect, "Effect": effect, "Action": "*", "Resource": "*", **elements}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def request(action: str = "s3:PutObject", target: str = OBJECT, **context: Value) -> Request:
    return Request(ROLE, action, target, {key.replace("__", ":"): v for key, v in context.items()})


def allowed_by(condition: dict[str, Any], context: dict[str, Value]) -> bool:
    policy = document(statement(Condition=condition))
    named = {key.replace("__", ":"): value for key, value in context.items()}
    return bool(decide(Request(ROLE, "s3:PutObject", OBJECT, named), identity=[policy]))


def test_nothing_is_allowed_by_default_and_a_denial_wins() -> None:
    allow, deny = document(statement()), document(statement("Deny"))
    assert not decide(request())
    assert decide(request(), identity=[allow])
    assert not decide(request(), identity=[allow, deny])
    verdict = decide(
        request(), identity=[allow], resource=[document(statement("Deny", Principal="*"))]
    )
    assert (verdict.allowed, verdict.reason) == (False, "deny: Deny")


def test_actions_ignore_case_and_resources_do_not() -> None:
    policy = document(statement(Action="S3:put*", Resource="arn:aws:s3:::backups/web/*"))
    assert decide(request("s3:PutObject"), identity=[policy])
    assert not decide(request("s3:GetObject"), identity=[policy])
    assert not decide(request(target=OBJECT.replace("web", "Web")), identity=[policy])


def test_what_is_not_named_is_meant_by_the_negated_elements() -> None:
    policy = document({"Effect": "Allow", "NotAction": "s3:Delete*", "NotResource": "*/secret/*"})
    assert decide(request(), identity=[policy])
    assert not decide(request("s3:DeleteObject"), identity=[policy])
    assert not decide(request(target="arn:aws:s3:::b/secret/x"), identity=[policy])


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", True),
        ({"AWS": "*"}, True),
        ({"AWS": ROLE}, True),
        ({"AWS": "arn:aws:iam::123456789012:role/db"}, False),
        # the account alone hands the decision over to the identity's own policies
        ({"AWS": "arn:aws:iam::123456789012:root"}, False),
        ({"Service": "ec2.amazonaws.com"}, False),
    ],
)
def test_a_resource_lets_in_whom_it_names(principal: Any, expected: bool) -> None:
    policy = document(statement(Principal=principal))
    assert bool(decide(request(), resource=[policy])) is expected


def test_a_denial_for_an_account_meets_everybody_in_it() -> None:
    everything = document(statement())
    root = document(statement("Deny", Principal={"AWS": "123456789012"}))
    assert not decide(request(), identity=[everything], resource=[root])
    others = document(statement("Deny", NotPrincipal={"AWS": ROLE}))
    assert decide(request(), identity=[everything], resource=[others])


def test_a_boundary_must_allow_besides() -> None:
    everything = document(statement())
    puts = document(statement(Action="s3:PutObject"))
    assert decide(request(), identity=[everything], boundaries=[puts])
    assert not decide(request("s3:GetObject"), identity=[everything], boundaries=[puts])
    endpoint = document(statement(Principal="*", Action="s3:PutObject"))
    assert decide(request(), identity=[everything], boundaries=[endpoint])


CONDITIONS: list[tuple[dict[str, Any], dict[str, Value], bool]] = [
    ({"StringEquals": {"k": ["a", "b"]}}, {"k": "b"}, True),
    ({"StringEquals": {"k": "a"}}, {"k": "A"}, False),
    ({"StringEqualsIgnoreCase": {"k": "a"}}, {"k": "A"}, True),
    ({"StringEquals": {"K": "a"}}, {"k": "a"}, True),
    ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
    ({"StringLike": {"k": "a*"}}, {"k": "ab"}, True),
    ({"StringLike": {"k": "a?"}}, {"k": "abc"}, False),
    ({"StringEquals": {"k": "a"}}, {}, False),
    # a negated operator holds when the key is absent
    ({"StringNotEquals": {"k": "a"}}, {}, True),
    ({"StringNotEquals": {"k": ["a", "b"]}}, {"k": "b"}, False),
    ({"StringNotLike": {"k": "a*"}}, {"k": "b"}, True),
    ({"StringEqualsIfExists": {"k": "a"}}, {}, True),
    ({"StringEqualsIfExists": {"k": "a"}}, {"k": "b"}, False),
    ({"Null": {"k": "true"}}, {}, True),
    ({"Null": {"k": "true"}}, {"k": "x"}, False),
    ({"Null": {"k": "false"}}, {"k": "x"}, True),
    ({"Null": {"k": False}}, {}, False),
    ({"Bool": {"k": "true"}}, {"k": True}, True),
    ({"Bool": {"k": "false"}}, {}, False),
    ({"BoolIfExists": {"k": "false"}}, {}, True),
    ({"NumericLessThan": {"k": "1.2"}}, {"k": "1.1"}, True),
    ({"NumericLessThan": {"k": "1.2"}}, {"k": "1.2"}, False),
    ({"NumericLessThanEquals": {"k": 30}}, {"k": 30}, True),
    ({"NumericGreaterThan": {"k": 30}}, {"k": "junk"}, False),
    ({"NumericGreaterThan": {"k": 30}}, {}, False),
    ({"DateGreaterThan": {"k": "2026-01-01T00:00:00Z"}}, {"k": "2026-02-01T00:00:00Z"}, True),
    ({"IpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.1.2.3"}, True),
    ({"NotIpAddress": {"k": "10.0.0.0/8"}}, {"k": "10.1.2.3"}, False),
    ({"ArnLike": {"k": "arn:aws:ec2:*:1:instance/*"}}, {"k": "arn:aws:ec2:eu:1:instance/i"}, True),
    # a star stays within its part of the ARN
    ({"ArnLike": {"k": "arn:aws:*:1:instance/*"}}, {"k": "arn:aws:ec2:eu:1:instance/i"}, False),
    ({"ArnNotEquals": {"aws:PrincipalArn": ROLE}}, {}, False),
    ({"ArnEquals": {"aws:PrincipalArn": ROLE}}, {}, True),
    ({"StringEquals": {"aws:PrincipalAccount": "123456789012"}}, {}, True),
    ({"ForAnyValue:StringEquals": {"k": "a"}}, {"k": ["a", "z"]}, True),
    ({"ForAnyValue:StringEquals": {"k": "a"}}, {}, False),
    ({"ForAllValues:StringEquals": {"k": "a"}}, {"k": ["a", "z"]}, False),
    ({"ForAllValues:StringEquals": {"k": "a"}}, {}, True),
    # all operators and all keys must hold
    ({"StringEquals": {"k": "a", "l": "b"}}, {"k": "a"}, False),
    ({"StringEquals": {"k": "a"}, "Null": {"l": "true"}}, {"k": "a"}, True),
    ({"StringEquals": {"k": "${aws:userid}"}}, {"k": "me", "aws__userid": "me"}, True),
    ({"StringLike": {"k": "${aws:userid}"}}, {"k": "anything", "aws__userid": "*"}, False),
    ({"StringEquals": {"k": "${aws:userid}"}}, {"k": "me"}, False),
    ({"StringEquals": {"k": "${aws:userid, 'me'}"}}, {"k": "me"}, True),
    ({"StringEquals": {"k": "${*}"}}, {"k": "*"}, True),
]


@pytest.mark.parametrize(("condition", "context", "expected"), CONDITIONS)
def test_conditions(condition: dict[str, Any], context: dict[str, Value], expected: bool) -> None:
    assert allowed_by(condition, context) is expected


def test_a_variable_in_a_resource_is_the_callers_own_value() -> None:
    policy = document(statement(Resource="arn:aws:s3:::backups/enroll/${aws:userid}/*"))
    own, other = "AROAX:i-1", "AROAX:i-2"
    for name, expected in ((own, True), (other, False)):
        asked = request(target=f"arn:aws:s3:::backups/enroll/{name}/key", aws__userid=own)
        assert bool(decide(asked, identity=[policy])) is expected
    assert not decide(request(target="arn:aws:s3:::backups/enroll/x/key"), identity=[policy])


@pytest.mark.parametrize(
    "policy",
    [
        document(statement(Condition={"StringAlmost": {"k": "a"}})),
        document(statement(Condition={"ForSome:StringEquals": {"k": "a"}})),
        document(statement(Conditions={"StringEquals": {"k": "a"}})),
    ],
)
def test_what_is_not_known_is_no_verdict(policy: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="known"):
        decide(request(k="a"), identity=[policy])
