"""What a graph subtracts and divides by, from data or from what the sensors can report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.manifest import Channel


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and scale by channel, and those of the label of a regression, in natural units."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    label_mean: float = 0.0
    label_scale: float = 1.0

    def check(self, channels: int) -> None:
        """Refuse numbers that a graph cannot scale by.

        Raises
        ------
        UnsupportedError
            When there is not one mean and one scale above 0 for each channel.
        """
        numbers = (*self.mean, *self.scale, self.label_mean, self.label_scale)
        if len(self.mean) != channels or len(self.scale) != channels:
            raise UnsupportedError(f"scaling: give one mean and one scale for {channels} channels.")
        if not all(map(math.isfinite, numbers)) or min(*self.scale, self.label_scale) <= 0:
            raise UnsupportedError("scaling: means must be finite, scales finite and above 0.")


def scaling_from_ranges(channels: Sequence[Channel]) -> Scaling:
    """Scale as if each value were spread evenly over what its sensor can report."""
    return Scaling(
        mean=tuple((c.minimum + c.maximum) / 2 for c in channels),
        scale=tuple((c.maximum - c.minimum) / math.sqrt(12) for c in channels),
    )


def scaling_from_rows(
    rows: NDArray[np.floating], channels: Sequence[Channel], label: NDArray[np.floating] | None
) -> Scaling:
    """Scale by mean and standard deviation of the values that are there.

    A channel without two different values is scaled by its range.

    Parameters
    ----------
    rows
        ``[R, C]`` in the channels' units, NaN where missing.
    label
        ``[R]``, the labels of a regression, or None.
    """
    spread = scaling_from_ranges(channels)
    pairs = [
        _moments(column) or (mean, scale)
        for column, mean, scale in zip(rows.T, spread.mean, spread.scale, strict=True)
    ]
    of_label = _moments(label) if label is not None else None
    mean, scale = of_label or (0.0, 1.0)
    return Scaling(
        mean=tuple(m for m, _ in pairs),
        scale=tuple(s for _, s in pairs),
        label_mean=mean,
        label_scale=scale,
    )


def _moments(values: NDArray[np.floating]) -> tuple[float, float] | None:
    there = values[np.isfinite(values)].astype(np.float64)
    if there.size < 2 or (scale := float(there.std())) <= 0:
        return None
    return float(there.mean()), scale
