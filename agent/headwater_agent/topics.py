"""MQTT topics: what a filter matches, whether two filters meet, and patterns with named levels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_TOPIC_BYTES = 65_535
"""Longest topic that MQTT can carry (MQTT 5.0, 1.5.4)."""

_NAMED = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def matches(topic_filter: str, topic: str) -> bool:
    """Say whether a filter matches a topic (MQTT 5.0, 4.7).

    ``+`` stands for one level, a last ``#`` for any number of them including none, and neither
    stands for a first level that begins with ``$``.

    Examples
    --------
    >>> matches("sport/+/player1", "sport/tennis/player1"), matches("#", "$SYS/load")
    (True, False)
    """
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i == len(levels) or level not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


def overlaps(one: str, other: str) -> bool:
    """Say whether there is a topic that both filters match.

    Examples
    --------
    >>> overlaps("site/+/temperature", "site/a/#"), overlaps("a/+", "a/b/c")
    (True, False)
    """
    a, b = one.split("/"), other.split("/")
    wild = ("+", "#")
    if (a[0] in wild and b[0].startswith("$")) or (b[0] in wild and a[0].startswith("$")):
        return False
    for left, right in zip(a, b, strict=False):
        if "#" in (left, right):
            return True
        if left != right and "+" not in (left, right):
            return False
    longer = max(a, b, key=len)
    return len(a) == len(b) or longer[min(len(a), len(b)) :] == ["#"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A topic with named levels, such as ``site/{stream}/{channel}``.

    A level is a word, ``{name}``, ``+``, or a last ``#``. Built by :meth:`parse`.
    """

    text: str
    levels: tuple[str, ...]
    names: tuple[str, ...] = field(default=())
    """The names in their order; empty for a level that has none."""

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern.

        Raises
        ------
        ValueError
            With a sentence that says which level is wrong and why.
        """
        levels = tuple(text.split("/"))
        complaint = next(
            (c for i, level in enumerate(levels) if (c := _complaint(level, i + 1 == len(levels)))),
            None,
        )
        found = [_NAMED.fullmatch(level) for level in levels]
        names = tuple(name[1] if name else "" for name in found)
        named = [name for name in names if name]
        if not text or "\0" in text or len(text.encode()) > MAX_TOPIC_BYTES:
            complaint = "a topic needs 1 to 65535 bytes and no NUL"
        elif len(set(named)) != len(named):
            complaint = "each {name} may stand once"
        if complaint:
            raise ValueError(f"{text!r} is no topic pattern: {complaint}")
        return cls(text, levels, names)

    @property
    def filter(self) -> str:
        """The subscription that covers the pattern: ``+`` for every name."""
        return "/".join(
            "+" if name else level for name, level in zip(self.names, self.levels, strict=True)
        )

    def read(self, topic: str) -> dict[str, str] | None:
        """Return the named levels of a topic, or None where the pattern does not match."""
        if not matches(self.filter, topic):
            return None
        levels = topic.split("/")
        return {name: levels[i] for i, name in enumerate(self.names) if name}

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the topic with names replaced; a name without a value becomes ``+``."""
        return "/".join(
            values.get(name, "+") if name else level
            for name, level in zip(self.names, self.levels, strict=True)
        )


def _complaint(level: str, last: bool) -> str | None:
    if _NAMED.fullmatch(level) or level == "+":
        return None
    if level == "#":
        return None if last else "# may only be the last level"
    if "+" in level or "#" in level:
        return f"in level {level!r} a wildcard does not stand alone"
    if "{" in level or "}" in level:
        return f"level {level!r} must be {{name}} whole, in lower case, or have no braces"
    return None
