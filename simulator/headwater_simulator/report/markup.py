"""Elements of a page; whatever text goes in comes out as text."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from headwater_simulator.report.words import visible

Element = ET.Element
Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str | float) -> Element:
    """Return an element.

    Parameters
    ----------
    tag
        Its name.
    children
        Elements and texts, in their order; None is passed over.
    attributes
        A trailing underscore of a name is dropped, others become hyphens; numbers keep one digit
        behind the point.
    """
    made = Element(tag)
    for name, value in attributes.items():
        text = visible(value) if isinstance(value, str) else coordinate(value)
        made.set(name.rstrip("_").replace("_", "-"), text)
    extend(made, *children)
    return made


def extend(parent: Element, *children: Child) -> None:
    """Put elements and texts at the end of an element."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif child:
            _append_text(parent, visible(child))


def document(root: Element) -> str:
    """Return a whole HTML file."""
    return f"<!doctype html>\n{ET.tostring(root, encoding='unicode', method='html')}\n"


def coordinate(value: float) -> str:
    """Write a number as drawings need it.

    Examples
    --------
    >>> coordinate(3), coordinate(1 / 3), coordinate(-0.01)
    ('3', '0.3', '0')
    """
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text
