"""WISDM's phone users [1]_: their rows, and what each may say of them without showing one.

Every row is 10 s of a phone's accelerometer as 43 features with the activity of its user.

.. [1] Kwapisz, Weiss and Moore, Activity Recognition using Cell Phone Accelerometers, SIGKDD
   Explorations 12(2), 2010.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater_models.manifest import Channel
from headwater_models.statistics.moments import Moments, merge_moments, moments_of

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

CLASSES = ("Walking", "Jogging", "Upstairs", "Downstairs", "Sitting", "Standing")
AXES = ("X", "Y", "Z")
CHANNELS: tuple[Channel, ...] = (
    *(Channel(name=f"{a}{i}", minimum=0, maximum=1) for a in AXES for i in range(10)),
    *(Channel(name=f"{a}AVG", minimum=-20, maximum=20, unit="m/s2") for a in AXES),
    *(Channel(name=f"{a}PEAK", minimum=0, maximum=10_000, unit="ms") for a in AXES),
    *(Channel(name=f"{a}ABSOLDEV", minimum=0, maximum=20, unit="m/s2") for a in AXES),
    *(Channel(name=f"{a}STANDDEV", minimum=0, maximum=20, unit="m/s2") for a in AXES),
    Channel(name="RESULTANT", minimum=0, maximum=40, unit="m/s2"),
)

MIN_COUNT = 50
"""With fewer rows a phone says nothing about them, as everywhere in Headwater."""


@dataclass(frozen=True, slots=True, eq=False)
class User:
    """Rows of one user: ``values`` ``[R, 43]``, NaN where empty; ``labels`` ``[R]``, indices."""

    name: str
    values: Floats
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What a phone says about its rows.

    ``moments`` ``[3, 43]`` of all of them; ``within`` ``[43]``, the sum of squared deviations from
    the mean of the row's own activity.
    """

    moments: Moments
    within: NDArray[np.float64]


def read_users(folder: Path) -> tuple[User, ...]:
    """Read ``wisdm_features.csv.gz``; users in the order of their numbers."""
    with gzip.open(folder / "wisdm_features.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        User(
            name=f"user-{number}",
            values=np.array(
                [
                    [
                        float(row[c.name]) if row[c.name] not in ("", "?") else np.nan
                        for c in CHANNELS
                    ]
                    for row in rows
                    if row["user"] == str(number)
                ],
                np.float32,
            ),
            labels=np.array(
                [CLASSES.index(row["class"]) for row in rows if row["user"] == str(number)]
            ),
        )
        for number in sorted({int(row["user"]) for row in rows})
    )


def split(user: User, share: float, rng: np.random.Generator) -> tuple[User, User]:
    """Split a user's rows at random, ``share`` of them to the first part; both in random order."""
    order = rng.permutation(len(user.labels))
    count = round(share * len(order))
    first, second = (
        User(user.name, user.values[rows], user.labels[rows])
        for rows in (order[:count], order[count:])
    )
    return first, second


def folds(count: int, parts: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Deal the indices of *count* users out into *parts*, at random and as evenly as it goes."""
    return [np.sort(part) for part in np.array_split(rng.permutation(count), parts)]


def summarise(user: User) -> Summary | None:
    """Return what the user's phone says, or None where its rows are too few."""
    if len(user.labels) < MIN_COUNT:
        return None
    by_class = [moments_of(user.values[user.labels == k]) for k in range(len(CLASSES))]
    return Summary(moments_of(user.values), np.sum([moments[2] for moments in by_class], axis=0))


def merged(summaries: Sequence[Summary]) -> Moments:
    """Return the moments of all rows, as if they lay in one place."""
    return reduce(merge_moments, (summary.moments for summary in summaries))


def telling(summaries: Sequence[Summary], threshold: float) -> tuple[int, ...]:
    """Return the channels that tell a user's activities apart.

    A channel does where its variance between the activities of a user is above *threshold* times
    that within them, both summed over users (Fisher's ratio).
    """
    within = np.sum([summary.within for summary in summaries], axis=0)
    between = np.sum([summary.moments[2] - summary.within for summary in summaries], axis=0)
    return tuple(np.flatnonzero(between > threshold * within).tolist())
