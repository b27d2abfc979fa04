"""What the cells of a table say: numbers, and that a value is missing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[Any]
"""Cells ``[R]`` in NumPy's ``StringDType``, which takes a quarter of what ``str`` does."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Cells, in lower case, that stand for a missing value."""

_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")


def texts(cells: Sequence[str] | Texts) -> Texts:
    """Return cells as an array; one that is such an array already is returned itself."""
    if isinstance(cells, np.ndarray):
        return cells
    return np.array(cells, np.dtypes.StringDType())


def floats(cells: Texts) -> NDArray[np.float64] | None:
    """Return cells as numbers, NaN where one is missing; None where one is no number."""
    try:
        return cells.astype(np.float64)
    except ValueError:
        missing = np.array([is_missing(cell) for cell in cells], np.bool_)
    try:
        return np.where(missing, texts(["nan"]), cells).astype(np.float64)
    except ValueError:
        return None


def number(cell: str) -> float:
    """Return a cell as a number, NaN where it is missing.

    Raises
    ------
    ValueError
        When it is neither.
    """
    return math.nan if is_missing(cell) else float(cell)


def is_missing(cell: str) -> bool:
    """Say whether a cell stands for a missing value."""
    return cell.strip().lower() in MISSING


def is_number(cell: str) -> bool:
    """Say whether a cell is a number, as Python writes it."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def has_decimal_comma(cell: str) -> bool:
    """Say whether a cell is digits around a comma."""
    return bool(_DECIMAL_COMMA.fullmatch(cell))


def share(cells: Texts, holds: Callable[[str], bool]) -> float:
    """Return of which share of the cells that are there something holds; 0 where none is."""
    counts = Counter(cell for cell in cells if not is_missing(cell))
    return sum(n for cell, n in counts.items() if holds(cell)) / max(1, counts.total())
