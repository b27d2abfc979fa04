"""Which examples are learned from, which decide when to stop, and which judge the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_models.judging import has_meaning
from headwater_models.manifest import Manifest
from headwater_models.offline.examples import Examples
from headwater_models.offline.grid import Places

LEAST = 20
"""Examples that each part needs at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Indices of examples in the order of the table; no row of one part reaches into another.

    ``cuts`` are the times, UTC milliseconds, at which a chronological split ends its first two
    parts; a grouped one has none.
    """

    kind: Literal["chronological", "grouped"]
    train: Places
    validation: Places
    test: Places
    cuts: tuple[int, ...] = ()


def chronological(
    examples: Examples, manifest: Manifest, *, validation: float, test: float
) -> Split:
    """Learn from the past, stop and judge by what came after, over all streams alike.

    Between two parts lies an embargo of window plus horizon (Lopez de Prado, Advances in
    Financial Machine Learning, 2018, chapter 7).

    Raises
    ------
    SettingsError
        When a part would be too small.
    """
    usable = useful(examples, manifest)
    if not usable.any():
        raise SettingsError("No window has a label; check --label, --window and --max-gap.")
    ordered = np.sort(examples.times[usable])
    first, second = (
        int(ordered[min(int(share * len(ordered)), len(ordered) - 1)])
        for share in (1 - validation - test, 1 - test)
    )
    begins = examples.times - (manifest.window - 1) * manifest.grid.period
    ends = examples.times + manifest.horizon
    learned = learnable(examples, manifest)
    return _checked(
        Split(
            "chronological",
            np.flatnonzero(learned & (ends < first)),
            np.flatnonzero(learned & (begins >= first) & (ends < second)),
            np.flatnonzero(usable & (begins >= second)),
            (first, second),
        )
    )


def grouped(
    examples: Examples,
    manifest: Manifest,
    *,
    validation: float,
    test: float,
    rng: np.random.Generator,
) -> Split:
    """Learn from some groups, stop by others, and judge by groups that were never seen.

    Groups are drawn at random until their examples make up each share.

    Raises
    ------
    SettingsError
        When there are fewer than three groups, or a part would be too small.
    """
    names = sorted(set(examples.groups))
    if len(names) < 3:
        raise SettingsError(f"A grouped split needs at least three groups, not {len(names)}.")
    of_stream = np.array([names.index(group) for group in examples.groups], np.intp)
    group = of_stream[examples.stream]
    usable, learned = useful(examples, manifest), learnable(examples, manifest)
    sizes = np.bincount(group[usable], minlength=len(names))
    order = rng.permutation(len(names))
    middles = (np.cumsum(sizes[order]) - sizes[order] / 2) / max(1, sizes.sum())
    part = np.searchsorted([test, test + validation], middles)
    part[0], part[-1] = 0, 2
    if not (part == 1).any():
        part[1] = 1
    of_group = np.empty(len(names), np.intp)
    of_group[order] = part
    place = of_group[group]
    return _checked(
        Split(
            "grouped",
            np.flatnonzero(learned & (place == 2)),
            np.flatnonzero(learned & (place == 1)),
            np.flatnonzero(usable & (place == 0)),
        )
    )


def useful(examples: Examples, manifest: Manifest) -> NDArray[np.bool_]:
    """Say which examples a model can be judged by: those with a label, for anomalies all."""
    if manifest.task == "anomaly":
        return np.ones(len(examples), np.bool_)
    return has_meaning(manifest, examples.labels)


def learnable(examples: Examples, manifest: Manifest) -> NDArray[np.bool_]:
    """Say which may be learned from: no cell beyond its range, and no known anomaly."""
    fit = useful(examples, manifest) & ~examples.doubted
    return fit & (examples.labels != 1) if manifest.task == "anomaly" else fit


def _checked(split: Split) -> Split:
    for name in ("train", "validation", "test"):
        count = len(getattr(split, name))
        if count < LEAST:
            raise SettingsError(
                f"The {name} part has {count} examples, fewer than {LEAST}; give more data, a "
                "smaller window or horizon, a larger --max-gap, or other shares."
            )
    return split
