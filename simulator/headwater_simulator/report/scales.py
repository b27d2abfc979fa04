"""The scales of a plot's axes: the range that they cover, ticked at round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_TIMES = (
    *((_SECOND * n, _SECOND, "s") for n in (1, 2, 5, 10, 15, 30)),
    *((_MINUTE * n, _MINUTE, "min") for n in (1, 2, 5, 10, 15, 30)),
    *((_HOUR * n, _HOUR, "h") for n in (1, 2, 3, 6, 12)),
    *((_DAY * n, _DAY, "d") for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
)
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B"))
_TICKS = 5
_LARGEST = 1e200


@dataclass(frozen=True, slots=True)
class Scale:
    """From figures to a share of an axis; ``ticks`` are figures with what is written at them."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return where a figure lies, from 0 to 1; what is beyond the end lies at the end."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high = math.log(low), math.log(high)
            value = math.log(max(value, self.low))
        return min(max((value - low) / (high - low), 0.0), 1.0)


def linear(values: Iterable[float], *, zero: bool = False) -> Scale:
    """Return a scale over figures, from 0 on if *zero*."""
    low, high = _range(values, zero=zero)
    step = _round_step((high - low) / _TICKS)
    if step < 1e-4 or high - low > 1e7:
        return _ticked(low, high, step, lambda value: f"{value:.3g}")
    digits = max(0, -math.floor(math.log10(step)))
    return _ticked(low, high, step, lambda value: f"{value:,.{digits}f}")


def counts(values: Iterable[float]) -> Scale:
    """Return a scale over counts, from 0 on."""
    low, high = _range((*values, 1), zero=True)
    step = max(1.0, _round_step((high - low) / _TICKS))
    return _ticked(low, high, step, lambda value: f"{value:,.0f}")


def sizes(values: Iterable[float]) -> Scale:
    """Return a scale over bytes, from 0 on."""
    low, high = _range((*values, 1), zero=True)
    unit, name = next(((u, n) for u, n in _SIZES if high >= u), (1, "B"))
    step = max(1.0, _round_step((high - low) / _TICKS))
    digits = max(0, -math.floor(math.log10(step / unit)))
    return _ticked(low, high, step, lambda value: f"{value / unit:,.{digits}f} {name}")


def times(end: float) -> Scale:
    """Return a scale over milliseconds since the beginning."""
    end = max(end, 1.0)
    step, unit, name = next(
        ((s, u, n) for s, u, n in _TIMES if end / s <= _TICKS + 1), (end, _DAY, "d")
    )
    ticks = tuple(
        (number * step, f"{number * step / unit:.0f} {name}")
        for number in range(math.floor(end / step) + 1)
    )
    return Scale(0.0, end, ticks)


def spanning(values: Iterable[float]) -> Scale:
    """Return a scale over figures; in powers of ten where they span more than a factor of 50."""
    known = [value for value in values if abs(value) < _LARGEST]
    if not known or min(known) <= 0 or max(known) <= 50 * min(known):
        return linear(known)
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    step = math.ceil((high - low) / (_TICKS + 1))
    ticks = tuple((10.0**power, f"{10.0**power:g}") for power in range(low, high + 1, step))
    return Scale(10.0**low, 10.0**high, ticks, logarithmic=True)


def _range(values: Iterable[float], *, zero: bool) -> tuple[float, float]:
    known = [value for value in values if abs(value) < _LARGEST] or [0.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / _LARGEST):
        room = abs(low) / 10 or 1.0
        low, high = low - (0.0 if zero else room), high + room
    return low, high


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _ticked(low: float, high: float, step: float, text: Callable[[float], str]) -> Scale:
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple((number * step, text(number * step)) for number in range(first, last + 1))
    return Scale(first * step, last * step, ticks)
