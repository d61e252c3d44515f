"""What a pattern in a rule may be, so that no line that an attacker writes can make it slow.

Checked when rules are loaded, our own and those of a user: bounded repeats only, no look-around,
no back-references, nothing that crosses a line, nothing that hyperscan and Python's `re` read
differently. A message is matched from its first byte to its last, so it may have one `.*`.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from re import _constants as constants  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]

MOST_REPEATS = 256
MOST_WAYS = 70_000  # to match from one position: two long repeats after one another
_CATEGORIES = {
    constants.CATEGORY_DIGIT: re.compile(rb"\d"),
    constants.CATEGORY_NOT_DIGIT: re.compile(rb"\D"),
    constants.CATEGORY_SPACE: re.compile(rb"\s"),
    constants.CATEGORY_NOT_SPACE: re.compile(rb"\S"),
    constants.CATEGORY_WORD: re.compile(rb"\w"),
    constants.CATEGORY_NOT_WORD: re.compile(rb"\W"),
}
_REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)


class PatternError(ValueError):
    """A pattern that the rules do not allow; the text says why."""


def check_trigger(pattern: str) -> None:
    """Raise PatternError unless the pattern may search through whole blocks."""
    tree = _parse(pattern)
    _check(tree, unbounded=0)
    if tree.getwidth()[0] == 0:
        raise PatternError("matches the empty text")
    if re.search(pattern.encode(), b"\n") or any(_reaches_line_end(tree)):
        raise PatternError(r"can match a line's end; write \n into the set, as in [^ \n]")


def check_search(pattern: str) -> None:
    """Raise PatternError unless the pattern may search through one normalised field."""
    tree = _parse(pattern)
    _check(tree, unbounded=0)
    if tree.getwidth()[0] == 0:
        raise PatternError("matches the empty text")


def check_message(pattern: str) -> None:
    """Raise PatternError unless the pattern may match one whole message."""
    _check(_parse(pattern), unbounded=1, anchored=True)


_ENCODABLE = "/:=;<>'\"&#@,`(){}$|*+?[]!^\\ "
_META = "(){}$|*+?[]^\\"


def with_encodings(trigger: str) -> str:
    """Return a trigger that also finds its reserved characters percent-encoded.

    So triggers are written as what they look for. Sets in brackets stay as they are; letters,
    digits and what else nobody encodes have a trigger of their own, for all rules.
    """
    out = []
    index = 0
    while index < len(trigger):
        one = trigger[index]
        if trigger.startswith("(?:", index):
            out.append("(?:")
            index += 3
            continue
        if one == "[":
            end = trigger.index("]", index + 2)
            out.append(trigger[index : end + 1])
            index = end + 1
            continue
        escaped = one == "\\"
        literal = trigger[index + 1] if escaped else one
        whole = trigger[index : index + 2] if escaped else one
        if escaped and literal == "x":
            whole = trigger[index : index + 4]
            literal = chr(int(whole[2:], 16))
        index += len(whole)
        if literal in _ENCODABLE and (escaped or literal not in _META):
            out.append(_encodings(literal))
        elif one == "{":
            end = trigger.index("}", index)
            out.append(trigger[index - 1 : end + 1])
            index = end + 1
        else:
            out.append(whole)
    return "".join(out)


def _encodings(literal: str) -> str:
    code = f"{ord(literal):02x}"
    forms = [re.escape(literal), f"%{code}"]
    if literal == "/":
        forms += [r"\\", "%5c"]
    elif literal == " ":
        forms = [" ", r"\+", "%20", "%09", "%0[a-d]"]
    elif literal in "\"<>'":
        forms.append(rf"\\x{code}")
    return f"(?:{'|'.join(forms)})"


def _parse(pattern: str) -> Any:
    try:
        return parser.parse(pattern.encode())
    except (re.error, UnicodeEncodeError, RecursionError) as error:
        raise PatternError(f"is no regular expression: {error}") from None


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    for operator, argument in tree:
        yield operator, argument
        for inner in _inside(operator, argument):
            yield from _walk(inner)


def _inside(operator: Any, argument: Any) -> Iterator[Any]:
    if operator in _REPEATS:
        yield argument[2]
    elif operator is constants.SUBPATTERN:
        yield argument[3]
    elif operator is constants.BRANCH:
        yield from argument[1]
    elif operator is constants.ATOMIC_GROUP:
        yield argument


_SINGLE = (constants.LITERAL, constants.NOT_LITERAL, constants.ANY, constants.IN)
_ALLOWED = {
    *_SINGLE,
    constants.BRANCH,
    constants.SUBPATTERN,
    constants.AT,
    constants.MAX_REPEAT,
    constants.MIN_REPEAT,
}


def _check(tree: Any, *, unbounded: int, anchored: bool = False) -> None:
    for operator, argument in _walk(tree):
        if operator not in _ALLOWED:
            raise PatternError(f"uses `{str(operator).lower()}`, which not every engine knows")
        if operator is constants.AT and argument not in (
            constants.AT_BEGINNING,
            constants.AT_END,
        ):
            raise PatternError("uses a boundary other than ^ and $")
        if operator not in _REPEATS:
            continue
        _, most, inner = argument
        if most is constants.MAXREPEAT:
            unbounded -= 1
            if unbounded < 0:
                raise PatternError("has a repeat without a bound; write {0,100}")
            if len(inner) != 1 or inner[0][0] not in (constants.ANY, constants.IN):
                raise PatternError("has a repeat of a group without a bound")
        elif most > MOST_REPEATS:
            raise PatternError(f"has a repeat of more than {MOST_REPEATS}")
        elif most > 1 and _ways(inner) > 1:
            raise PatternError("has a repeat inside of a repeat")
    if not anchored and _ways(tree) > MOST_WAYS:
        raise PatternError("has too many repeats after one another that can take the same bytes")


def _ways(tree: Any) -> int:
    """Return an upper bound of the ways to match from one position, for backtracking.

    Repeats multiply as long as no byte between them ends them all: `[a-z]{1,9}=[a-z]{1,9}` has one
    way to its `=`, and then nine.
    """
    done, chain, taken = 1, [1], frozenset[int]()
    for operator, argument in tree:
        if operator is constants.LITERAL:
            if argument not in taken:
                done *= math.prod(sorted(chain)[:-1])
                chain, taken = [1], frozenset()
            continue
        chain.append(_ways_of(operator, argument))
        taken |= _bytes_of(operator, argument)
        if done * math.prod(chain) > MOST_WAYS:
            return MOST_WAYS + 1
    return int(done * math.prod(chain))


def _ways_of(operator: Any, argument: Any) -> int:
    if operator in _REPEATS:
        least, most, inner = argument
        if most is constants.MAXREPEAT:
            return 1  # one factor of the line's length; there is one such repeat at most
        inside = _ways(inner)
        spans = int(most - least + 1)
        return spans if inside == 1 else min((inside + 1) ** min(most, 20), MOST_WAYS + 1)
    if operator is constants.SUBPATTERN:
        return _ways(argument[3])
    if operator is constants.BRANCH:
        many = [_ways(one) for one in argument[1]]
        return max(many) if _disjoint(argument[1]) else sum(many)
    return 1


def _disjoint(branches: Any) -> bool:
    """Whether no two branches can match at the same place."""
    return not any(_alike(one, other) for one, other in itertools.combinations(list(branches), 2))


def _alike(one: Any, other: Any) -> bool:
    """Whether a text can begin like both, as far as both have a fixed length."""
    for left, right in zip(one, other, strict=False):
        if left[0] not in _SINGLE or right[0] not in _SINGLE:
            return True
        if not _bytes_of(*left) & _bytes_of(*right):
            return False
    return True


def _bytes_of(operator: Any, argument: Any) -> frozenset[int]:
    """Return the bytes that a part can take."""
    if operator is constants.LITERAL:
        return frozenset((argument,))
    if operator is constants.NOT_LITERAL:
        return frozenset(range(256)) - {argument}
    if operator is constants.IN:
        return _bytes_of_set(tuple(argument))
    if operator is constants.ANY:
        return frozenset(range(256))
    taken: frozenset[int] = frozenset()
    for inner in _inside(operator, argument):
        for part, of in inner:
            taken |= _bytes_of(part, of)
    return taken


@cache
def _bytes_of_set(items: Any) -> frozenset[int]:
    return frozenset(one for one in range(256) if _set_takes(items, one))


def _reaches_line_end(tree: Any) -> Iterator[bool]:
    """Yield whether each single-character part would take a line feed."""
    for operator, argument in _walk(tree):
        if operator is constants.LITERAL:
            yield argument == 10
        elif operator is constants.NOT_LITERAL:
            yield argument != 10
        elif operator is constants.IN:
            yield _set_takes(argument, 10)
        elif operator is constants.AT:
            yield True


def _set_takes(items: Any, character: int) -> bool:
    negated = bool(items) and items[0][0] is constants.NEGATE
    takes = False
    for operator, argument in items:
        if operator is constants.LITERAL:
            takes = takes or argument == character
        elif operator is constants.RANGE:
            takes = takes or argument[0] <= character <= argument[1]
        elif operator is constants.CATEGORY:
            takes = takes or _CATEGORIES[argument].match(bytes((character,))) is not None
    return takes != negated
