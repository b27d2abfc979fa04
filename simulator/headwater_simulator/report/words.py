"""Numbers, times and names as people read them."""

from __future__ import annotations

import re
from itertools import pairwise

MISSING = "–"  # noqa: RUF001 - an en dash stands for a figure that there is not

_UNITS_MS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1))
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def figure(value: float | None, unit: str = "") -> str:
    """Write a measured number to four digits.

    Examples
    --------
    >>> figure(20.12345, "ug/m3"), figure(None) == MISSING
    ('20.12 ug/m3', True)
    """
    if value is None:
        return MISSING
    return f"{value:.4g} {unit}".rstrip()


def whole(value: int) -> str:
    """Write a count.

    Examples
    --------
    >>> whole(40_000)
    '40,000'
    """
    return f"{value:,}"


def share(value: float | None) -> str:
    """Write a part of a whole.

    Examples
    --------
    >>> share(0.1234), share(1)
    ('12.3 %', '100 %')
    """
    if value is None:
        return MISSING
    return f"{100 * value:.1f}".removesuffix(".0") + " %"


def duration(milliseconds: float) -> str:
    """Write a time by its two largest units.

    Examples
    --------
    >>> duration(0), duration(90_000), duration(2 * 86_400_000 + 3_600_001), duration(250)
    ('0 s', '1 min 30 s', '2 d 1 h', '250 ms')
    """
    left = round(milliseconds)
    for (unit, length), (smaller, part) in pairwise(_UNITS_MS):
        if left >= length:
            rest = left % length // part
            return f"{left // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{left} ms" if left else "0 s"


def size(count: float) -> str:
    """Write a number of bytes to three digits.

    Examples
    --------
    >>> size(0), size(999), size(1_234_567)
    ('0 B', '999 B', '1.23 MB')
    """
    name, unit = next(((n, u) for n, u in _SIZES if abs(count) >= u), ("B", 1))
    return f"{count / unit:.3g} {name}" if unit > 1 else f"{count:.0f} {name}"


def number(count: int, one: str, many: str = "") -> str:
    """Write how many there are of something.

    Examples
    --------
    >>> number(1, "round"), number(2_000, "round"), number(0, "loss", "losses")
    ('1 round', '2,000 rounds', '0 losses')
    """
    return f"{whole(count)} {one if count == 1 else many or one + 's'}"


def visible(text: str) -> str:
    """Return a text without characters that are not seen, or that turn what stands around them.

    Examples
    --------
    >>> len(visible("a" + chr(0) + "b")), visible("naïve")
    (3, 'naïve')
    """
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)
