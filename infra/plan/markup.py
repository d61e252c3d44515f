"""Elements of a page or a picture, made by the standard library's own tree and writer.

Nothing is ever joined to markup as text: the tree escapes every string that goes in, whatever it
holds. A template engine would do it too, unless one filter or one quote is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as Tree

Element = Tree.Element

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def element(tag: str, *children: object, **attributes: object) -> Element:
    """Return an element. Children are elements, texts, numbers, lists of these, or None.

    An attribute's underscores are hyphens and a trailing one is dropped (`class_`, `aria_label`);
    None and False leave it out, True gives it its own name.
    """
    made = Tree.Element(tag)
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        made.set(name, name if value is True else _clean(value))
    _append(made, children)
    return made


def _append(parent: Element, children: Iterable[object]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Tree.Element):
            parent.append(child)
        elif isinstance(child, str | int | float):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + _clean(child)
            else:
                parent.text = (parent.text or "") + _clean(child)
        elif isinstance(child, Iterable):
            _append(parent, child)
        else:
            raise TypeError(f"no child of an element: {type(child).__name__}")


def _clean(value: object) -> str:
    """Return a text without what neither HTML nor XML can hold."""
    if isinstance(value, float):
        return f"{value:g}"
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value))


def html(root: Element) -> str:
    """Return a whole HTML document. `style` and `script` must hold constants: HTML cannot escape
    inside of them, so a `<` there is an error.
    """
    for one in root.iter():
        if one.tag in ("style", "script") and "<" in "".join(one.itertext()):
            raise ValueError(f"`{one.tag}` must not hold `<`")
    return "<!DOCTYPE html>\n" + Tree.tostring(root, encoding="unicode", method="html") + "\n"


def svg(root: Element) -> str:
    """Return a picture as a file of its own."""
    root.set("xmlns", "http://www.w3.org/2000/svg")
    Tree.indent(root, " ")
    return Tree.tostring(root, encoding="unicode") + "\n"
