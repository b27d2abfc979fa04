"""What a graph subtracts and divides by, from data or from what the sensors can report."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.manifest import Channel


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and scale by channel, and those of the label of a regression, in natural units.

    A channel in ``log`` is read as log(1 + x), and below 0 as 0, for what is mostly small and
    sometimes huge; ``log`` has the mean and the scale of this logarithm.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    log: dict[str, tuple[float, float]] = {}
    label_mean: float = 0.0
    label_scale: float = 1.0

    def check(self, channels: Sequence[Channel]) -> None:
        """Refuse numbers that a graph cannot scale by.

        Raises
        ------
        UnsupportedError
            When there is not one mean and one scale above 0 for each channel, or a logarithm is
            to be taken of something else than a measured channel.
        """
        count = len(channels)
        if len(self.mean) != count or len(self.scale) != count:
            raise UnsupportedError(f"scaling: give one mean and one scale for {count} channels.")
        check_log(self.log, channels)
        means = (*self.mean, self.label_mean, *(mean for mean, _ in self.log.values()))
        scales = (*self.scale, self.label_scale, *(scale for _, scale in self.log.values()))
        if not all(map(math.isfinite, (*means, *scales))) or min(scales) <= 0:
            raise UnsupportedError("scaling: means must be finite, scales finite and above 0.")


def check_log(log: Collection[str], channels: Sequence[Channel]) -> None:
    """Refuse names of which no logarithm can be taken.

    Raises
    ------
    UnsupportedError
        When a name is not that of a measured channel that can rise above 0.
    """
    fitting = {c.name for c in channels if not c.categories and c.maximum > 0}
    for name in sorted(set(log) - fitting):
        raise UnsupportedError(
            f"log: {name!r} is no measured channel that can be above 0; name one of "
            f"{', '.join(sorted(fitting)) or 'none'}."
        )


def scaling_from_ranges(channels: Sequence[Channel], log: Collection[str] = ()) -> Scaling:
    """Scale as if each value were spread evenly over what its sensor can report.

    Parameters
    ----------
    log
        The channels that are read by their logarithm.

    Raises
    ------
    UnsupportedError
        When there is no channel of a name in *log*, or none that has a logarithm.
    """
    check_log(log, channels)
    spreads = [_spread(c.minimum, c.maximum) for c in channels]
    return Scaling(
        mean=tuple(mean for mean, _ in spreads),
        scale=tuple(scale for _, scale in spreads),
        log={
            c.name: _spread(math.log1p(max(c.minimum, 0.0)), math.log1p(c.maximum))
            for c in channels
            if c.name in log
        },
    )


def scaling_from_rows(
    rows: NDArray[np.floating],
    channels: Sequence[Channel],
    label: NDArray[np.floating] | None,
    log: Collection[str] = (),
) -> Scaling:
    """Scale by mean and standard deviation of the values that are there.

    A channel without two different values is scaled by its range.

    Parameters
    ----------
    rows
        ``[R, C]`` in the channels' units, NaN where missing.
    label
        ``[R]``, the labels of a regression, or None.
    log
        The channels that are read by their logarithm.

    Raises
    ------
    UnsupportedError
        As :func:`scaling_from_ranges`.
    """
    spread = scaling_from_ranges(channels, log)
    columns = {c.name: column for c, column in zip(channels, rows.T, strict=True)}
    pairs = [
        _moments(column) or (mean, scale)
        for column, mean, scale in zip(rows.T, spread.mean, spread.scale, strict=True)
    ]
    of_label = _moments(label) if label is not None else None
    mean, scale = of_label or (0.0, 1.0)
    return Scaling(
        mean=tuple(m for m, _ in pairs),
        scale=tuple(s for _, s in pairs),
        log={
            name: _moments(np.log1p(np.maximum(columns[name], 0.0))) or of_range
            for name, of_range in spread.log.items()
        },
        label_mean=mean,
        label_scale=scale,
    )


def _spread(low: float, high: float) -> tuple[float, float]:
    return (low + high) / 2, (high - low) / math.sqrt(12)


def _moments(values: NDArray[np.floating]) -> tuple[float, float] | None:
    there = values[np.isfinite(values)].astype(np.float64)
    if there.size < 2 or there.min() == there.max():
        return None
    return float(there.mean()), float(there.std())
