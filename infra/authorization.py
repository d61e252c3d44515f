"""Decides as AWS would whether policies allow a request: emulators ignore most conditions.

Source: AWS Identity and Access Management User Guide, "Policy evaluation logic" and "IAM JSON
policy elements: Condition operators". Within one account: what any policy denies is denied; what an
identity's policy or the resource's own policy allows is allowed; everything else is denied. A
boundary (also a VPC endpoint's policy) must allow besides. What is not known here, such as an
operator, is a ValueError and never a verdict.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]
Value = str | bool | int | Sequence[str]


@dataclass(frozen=True)
class Request:
    """Who asks for what, and the context keys that AWS would send along.

    `principal` is the ARN of a role or user, or the name of a service (`events.amazonaws.com`).
    A key that is absent from `context` is absent from the request, which conditions can tell.
    """

    principal: str
    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict)

    def value(self, key: str) -> Value | None:
        """Return a context key's value, whatever case it is written in."""
        if key.lower() == "aws:principalarn" and self.principal.startswith("arn:"):
            return self.principal
        if key.lower() == "aws:principalaccount" and self.principal.startswith("arn:"):
            return self.principal.split(":")[4]
        return next((one for k, one in self.context.items() if k.lower() == key.lower()), None)


@dataclass(frozen=True)
class Verdict:
    """The decision, and the `Sid` of the statement that made it (empty: nothing allowed it)."""

    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


def decide(
    request: Request,
    *,
    identity: Iterable[Document] = (),
    resource: Iterable[Document] = (),
    boundaries: Iterable[Document] = (),
) -> Verdict:
    """Return the verdict for one request, with the policies that apply to it."""
    identities, resources, limits = list(identity), list(resource), list(boundaries)
    for document, with_principal in [
        *((one, False) for one in identities),
        *((one, True) for one in resources),
        *((one, "Principal" in str(one)) for one in limits),
    ]:
        for statement in statements(document):
            if statement["Effect"] == "Deny" and _applies(statement, request, with_principal):
                return Verdict(False, f"deny: {statement.get('Sid', '?')}")
    for limit in limits:
        if not _allows(limit, request, any("Principal" in one for one in statements(limit))):
            return Verdict(False, "no boundary allows it")
    for document in identities:
        if sid := _allows(document, request, False):
            return Verdict(True, sid)
    for document in resources:
        if sid := _allows(document, request, True):
            return Verdict(True, sid)
    return Verdict(False)


def statements(document: Document) -> list[Mapping[str, Any]]:
    """Return a policy's statements, one or several."""
    found = document.get("Statement", [])
    return [found] if isinstance(found, Mapping) else list(found)


def listed(value: Any) -> list[Any]:
    """Return what may stand alone or in a list as a list."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _allows(document: Document, request: Request, with_principal: bool) -> str:
    for statement in statements(document):
        if statement["Effect"] != "Allow" or not _applies(statement, request, with_principal):
            continue
        if with_principal and _only_delegates(statement, request):
            continue
        return str(statement.get("Sid") or "unnamed")
    return ""


def _only_delegates(statement: Mapping[str, Any], request: Request) -> bool:
    """Tell whether a resource's statement names the account only: identity policies decide then."""
    principal = statement.get("Principal")
    if not isinstance(principal, Mapping) or not request.principal.startswith("arn:"):
        return False
    named = listed(principal.get("AWS"))
    return bool(named) and all(re.search(r"(^\d{12}$|:root$)", one) for one in named)


def _applies(statement: Mapping[str, Any], request: Request, with_principal: bool) -> bool:
    known = {
        *("Sid", "Effect", "Principal", "NotPrincipal", "Condition"),
        *("Action", "NotAction", "Resource", "NotResource"),
    }
    if unknown := set(statement) - known:
        raise ValueError(f"a statement has the unknown element `{min(unknown)}`")
    if with_principal and not _principal(statement, request):
        return False
    if "NotAction" in statement:
        if _any(statement["NotAction"], request.action, ignore_case=True):
            return False
    elif not _any(statement.get("Action"), request.action, ignore_case=True):
        return False
    if "NotResource" in statement:
        if _any(_filled(statement["NotResource"], request), request.resource):
            return False
    elif "Resource" in statement and not _any(
        _filled(statement["Resource"], request), request.resource
    ):
        return False
    return all(
        _condition(operator, key, listed(wanted), request)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _principal(statement: Mapping[str, Any], request: Request) -> bool:
    if "NotPrincipal" in statement:
        return not _is(statement["NotPrincipal"], request.principal)
    return _is(statement.get("Principal"), request.principal)


def _is(element: Any, principal: str) -> bool:
    if element == "*":
        return True
    if not isinstance(element, Mapping):
        return False
    for kind, names in element.items():
        for name in listed(names):
            if kind == "AWS":
                account = re.fullmatch(r"(?:arn:[\w-]+:iam::)?(\d{12})(?::root)?", name)
                if name == "*" or name == principal:
                    return True
                if account and principal.split(":")[4:5] == [account[1]]:
                    return True
            elif kind == "Service" and name == principal:
                return True
    return False


def _filled(patterns: Any, request: Request) -> list[str]:
    """Return patterns with policy variables replaced; one that is absent matches nothing."""

    def fill(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        if name in ("*", "?", "$"):
            return {"*": "\x00", "?": "\x01", "$": "$"}[name]
        value = request.value(name.strip())
        if value is None:
            return default.strip().strip("'") if default else "\x02"
        return str(value).replace("*", "\x00").replace("?", "\x01")

    return [re.sub(r"\$\{([^}]+)\}", fill, str(one)) for one in listed(patterns)]


def _matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    if "\x02" in pattern:
        return False
    parts = {"*": ".*", "?": ".", "\x00": r"\*", "\x01": r"\?"}
    expression = "".join(parts.get(one) or re.escape(one) for one in pattern)
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.fullmatch(expression, text, flags) is not None


def _any(patterns: Any, text: str, *, ignore_case: bool = False) -> bool:
    return any(_matches(one, text, ignore_case=ignore_case) for one in listed(patterns))


def _arn(pattern: str, text: str) -> bool:
    """Compare ARNs part by part: a star does not reach over a colon, but in the last part."""
    wanted, given = pattern.split(":", 5), text.split(":", 5)
    return len(given) == 6 and (
        pattern == "*"
        or (
            len(wanted) == 6
            and all(_matches(one, other) for one, other in zip(wanted, given, strict=True))
        )
    )


def _equal(pattern: str, text: str) -> bool:
    return pattern.replace("\x00", "*").replace("\x01", "?") == text


def _boolean(pattern: str, text: str) -> bool:
    return pattern.lower() == text.lower()


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(pattern: str, text: str) -> bool:
        try:
            return compare(float(text), float(pattern))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def seconds(text: str) -> float:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

    return lambda pattern, text: compare(seconds(text), seconds(pattern))


def _address(pattern: str, text: str) -> bool:
    return ipaddress.ip_address(text) in ipaddress.ip_network(pattern)


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "Equals": lambda given, wanted: given == wanted,
    "LessThan": lambda given, wanted: given < wanted,
    "LessThanEquals": lambda given, wanted: given <= wanted,
    "GreaterThan": lambda given, wanted: given > wanted,
    "GreaterThanEquals": lambda given, wanted: given >= wanted,
}
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": lambda pattern, text: _equal(pattern.lower(), text.lower()),
    "StringLike": _matches,
    "ArnEquals": _arn,
    "ArnLike": _arn,
    "Bool": _boolean,
    "IpAddress": _address,
    **{f"Numeric{name}": _numeric(compare) for name, compare in _COMPARISONS.items()},
    **{f"Date{name}": _date(compare) for name, compare in _COMPARISONS.items()},
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}


def _condition(operator: str, key: str, wanted: list[Any], request: Request) -> bool:
    value = request.value(key)
    name, _, plain = operator.rpartition(":")
    if name not in ("", "ForAnyValue", "ForAllValues"):
        raise ValueError(f"the condition operator `{operator}` is not known")
    texts = [_text(one) for one in wanted]
    if plain == "Null":
        return any(_boolean(one, "true" if value is None else "false") for one in texts)
    if_exists = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    negated = plain in _NEGATED
    test = _OPERATORS.get(_NEGATED.get(plain, plain))
    if test is None:
        raise ValueError(f"the condition operator `{operator}` is not known")
    if value is None:
        return name == "ForAllValues" or if_exists or (negated and not name)
    if isinstance(value, list | tuple) and not name:
        raise ValueError(f"`{key}` has several values, and `{operator}` is for one")
    patterns = _filled(texts, request)

    def holds(text: str) -> bool:
        return any(test(one, text) for one in patterns) is not negated

    results = [holds(_text(one)) for one in listed(value)]
    return all(results) if name == "ForAllValues" else any(results)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
