"""What statistics must show before they leave a device, and before they are merged."""

from __future__ import annotations

from collections.abc import Iterator

from headwater_models.arrays import Statistics
from headwater_models.manifest import Manifest
from headwater_models.statistics.learner import MIN_CLASS, ROUNDING
from headwater_models.statistics.solving import learner_of


def says_too_much(manifest: Manifest, statistics: Statistics) -> str | None:
    """Return why statistics would tell too much of single examples, as a sentence, or None.

    They need ``min_count`` examples, and of each class that occurs :data:`.MIN_CLASS`, for the
    sums of a class with one example are that example.
    """
    learner = learner_of(manifest)
    count = learner.count(statistics)
    if count < manifest.min_count:
        return f"Its statistics are of {count:g} examples; at least {manifest.min_count} are asked."
    counts = learner.classes(manifest, statistics)
    few = [
        name
        for name, number in zip(manifest.classes, counts.tolist(), strict=False)
        if 0 < number < MIN_CLASS
    ]
    if few:
        return f"Its statistics have fewer than {MIN_CLASS} examples of class {', '.join(few)}."
    return None


def complaints(manifest: Manifest, statistics: Statistics, examples: int) -> Iterator[str]:
    """Yield, as sentences, why a contribution must not be merged.

    Parameters
    ----------
    statistics
        Finite, in the manifest's shapes.
    examples
        How many the contribution says it is of.
    """
    learner = learner_of(manifest)
    yield from learner.complaints(manifest, statistics)
    count = learner.count(statistics)
    if count > examples * (1.0 + ROUNDING):
        yield f"It says that it is of {examples} examples, but its statistics are of {count:g}."
    few = says_too_much(manifest, statistics)
    if few:
        yield few
