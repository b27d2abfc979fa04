"""Student's t: how likely chance alone is as far out, and how far out chance alone comes."""

from __future__ import annotations

import math

_SMALLEST = 1e-300
_MOST_TERMS = 10_000


def chance(t: float, freedom: float) -> float:
    """Return how likely Student's t is at least as far from 0 as *t*, either way.

    Parameters
    ----------
    t
        May be infinite.
    freedom
        Degrees of freedom, above 0 and not necessarily whole.

    Examples
    --------
    >>> round(chance(2.228, 10), 4), chance(0, 3)
    (0.05, 1.0)
    """
    if math.isinf(t):
        return 0.0
    square = t * t
    return _beta(freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5)


def quantile(confidence: float, freedom: float) -> float:
    """Return what Student's t stays below with probability *confidence*.

    Parameters
    ----------
    confidence
        Between 0 and 1, both excluded.
    freedom
        Degrees of freedom, at least 1 and not necessarily whole.

    Examples
    --------
    >>> [round(quantile(0.95, freedom), 2) for freedom in (1, 2, 3, 10, 1000)]
    [6.31, 2.92, 2.35, 1.81, 1.65]
    """
    if confidence < 0.5:
        return -quantile(1 - confidence, freedom)
    outside = 2 * (1 - confidence)
    low, high = 0.0, 1.0
    while chance(high, freedom) > outside:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if chance(middle, freedom) > outside:
            low = middle
        else:
            high = middle
    return high


def _beta(x: float, rest: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function of *x*, where *rest* is 1 - x.

    By its continued fraction, on the side where that converges fast (Abramowitz and Stegun,
    26.5.8).
    """
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(rest, x, b, a)
    if x <= 0:
        return 0.0
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log(rest)
    return math.exp(front) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d1 / (1 + d2 / (1 + ...)) by Lentz's method (Applied Optics 15, 1976)."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(1, _MOST_TERMS):
        half = term // 2
        if term % 2:
            part = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            part = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        d = 1 / (1 + part * d or _SMALLEST)
        c = 1 + part / c or _SMALLEST
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
