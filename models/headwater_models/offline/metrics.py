"""How well predictions fit labels, each figure with an interval and beside the baseline's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from headwater_models.judging import errors, losses, point
from headwater_models.manifest import Manifest
from headwater_models.offline.bootstrap import Bootstrap, Figure, Numbers, Statistic
from headwater_models.offline.examples import Examples
from headwater_models.offline.grid import Places
from headwater_models.offline.recordings import Floats

SHARE = ", as a share of the baseline's"
ABOVE = "accuracy above the baseline's"
AREA = "area under the ROC curve"
"""The figures that tell whether a model is better than what it is compared with."""


class Verdict(Enum):
    """Whether a model is better than the baseline, or than chance: surely, perhaps, or not."""

    BETTER = "better"
    OPEN = "open"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of the model, and the baseline's where it has one."""

    name: str
    model: Figure
    baseline: Figure | None = None


def measure(
    manifest: Manifest, made: Floats, baseline: Floats, labels: Floats, bootstrap: Bootstrap
) -> list[Metric]:
    """Return the figures of a task.

    Parameters
    ----------
    made, baseline
        Predictions of the model and of the baseline, float32 ``[N, K]``; the baseline may be NaN.
    labels
        float32 ``[N]``, each with a meaning; for anomalies NaN where none is known.
    bootstrap
        Over the same rows.
    """
    match manifest.task:
        case "classification":
            return list(_of_classes(manifest, made, baseline, labels, bootstrap))
        case "anomaly":
            return list(_of_scores(made, labels, bootstrap))
        case _:
            return list(_of_numbers(manifest, made, baseline, labels, bootstrap))


def verdict(metrics: Sequence[Metric]) -> Verdict | None:
    """Return what figures say of a model beside its baseline; None: nothing.

    The interval of its mean error as a share of the baseline's, of its accuracy above the
    baseline's, or of the area under its ROC curve lies on one side, or on both.
    """
    for metric in metrics:
        figure = metric.model
        if metric.name.endswith(SHARE):
            return _side(1 - figure.value, 1 - figure.high)
        if metric.name in (ABOVE, AREA):
            chance = 0.5 if metric.name == AREA else 0.0
            return _side(figure.value - chance, figure.low - chance)
    return None


def _side(gain: float, least: float) -> Verdict:
    if not gain > 0:
        return Verdict.WORSE
    return Verdict.BETTER if least > 0 else Verdict.OPEN


def baseline_predictions(
    manifest: Manifest, examples: Examples, chosen: Places, learned: Floats
) -> Floats:
    """Return what the baseline predicts for examples, float32 ``[n, K]``.

    Parameters
    ----------
    learned
        The labels learned from: their mean or the shares of their classes are the baseline of
        all that is no forecast of a channel; a forecast's is the last known value.
    """
    if manifest.task == "forecast":
        column = examples.windows(chosen)[:, :, manifest.target_index]
        known = np.isfinite(column)
        last = column.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
        value = np.where(known.any(axis=1), column[np.arange(len(column)), last], np.nan)
        return np.repeat(value[:, None], manifest.outputs, axis=1)
    answer = np.full(manifest.outputs, np.nan, np.float32)
    if manifest.task == "classification":
        counts = np.bincount(learned.astype(np.intp), minlength=manifest.outputs)
        answer[:] = counts / counts.sum()
    elif manifest.task == "regression":
        levels = np.array(manifest.quantiles)
        answer[:] = np.quantile(learned, levels) if len(levels) else learned.mean()
    return np.broadcast_to(answer, (len(chosen), manifest.outputs))


def confusion(manifest: Manifest, made: Floats, labels: Floats) -> NDArray[np.intp]:
    """Return how often each class ``[i]`` was taken for each ``[j]``."""
    size = manifest.outputs
    pairs = labels.astype(np.intp) * size + point(manifest, made).astype(np.intp)
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def _of_numbers(
    manifest: Manifest, made: Floats, baseline: Floats, labels: Floats, bootstrap: Bootstrap
) -> Iterator[Metric]:
    """Yield errors of the value, where there is one, and what quantiles are judged by.

    The one nearest to the median is no value where the median itself is not asked for.
    """
    truth = labels[:, None]
    if not manifest.quantiles or 0.5 in manifest.quantiles:
        wrong = _side_by_side(errors(manifest, said, truth) for said in (made, baseline))
        yield from _of_errors("mean absolute error", wrong, bootstrap)
        yield Metric("root mean squared error", *_means(wrong**2, bootstrap, np.sqrt))
    for at, level in enumerate(manifest.quantiles):
        below = (labels <= made[:, at]).astype(np.float64)[:, None]
        yield Metric(f"share of labels below quantile {level:g}", bootstrap.figure(below, _mean))
    if manifest.quantiles:
        pinball = _side_by_side(losses(manifest, said, truth) for said in (made, baseline))
        yield from _of_errors("pinball loss", pinball, bootstrap)


def _side_by_side(both: Iterable[Numbers]) -> Numbers:
    """Return errors ``[N, 3]``: the model's and the baseline's where it has one, and where."""
    ours, theirs = both
    there = np.isfinite(theirs)
    kept = [np.where(there, np.nan_to_num(error), 0.0) for error in (ours, theirs)]
    return np.stack([*kept, there.astype(np.float64)], axis=1)


def _of_errors(name: str, columns: Numbers, bootstrap: Bootstrap) -> Iterator[Metric]:
    """Yield a mean error beside the baseline's, and as a share of it."""
    yield Metric(name, *_means(columns, bootstrap, np.asarray))
    share = bootstrap.figure(columns, lambda means: means[..., 0] / means[..., 1])
    yield Metric(f"{name}{SHARE}", share)


def _means(columns: Numbers, bootstrap: Bootstrap, form: Statistic) -> tuple[Figure, Figure]:
    """Return a form of the model's mean error and of the baseline's, over the same rows."""
    return (
        bootstrap.figure(columns, lambda means: form(means[..., 0] / means[..., 2])),
        bootstrap.figure(columns, lambda means: form(means[..., 1] / means[..., 2])),
    )


def _of_classes(
    manifest: Manifest, made: Floats, baseline: Floats, labels: Floats, bootstrap: Bootstrap
) -> list[Metric]:
    truth = labels[:, None]

    def right(said: Floats) -> Numbers:
        return 1 - errors(manifest, said, truth)[:, None]

    def f1(said: Floats) -> Figure:
        classes = np.arange(manifest.outputs)
        taken = point(manifest, said)[:, None] == classes
        true = labels[:, None] == classes
        columns = np.concatenate([taken & true, taken, true], axis=1).astype(np.float64)
        return bootstrap.figure(columns, _macro_f1)

    return [
        Metric(
            "accuracy",
            bootstrap.figure(right(made), _mean),
            bootstrap.figure(right(baseline), _mean),
        ),
        Metric(ABOVE, bootstrap.figure(right(made) - right(baseline), _mean)),
        Metric("macro F1", f1(made), f1(baseline)),
        Metric(
            "cross-entropy (nats)",
            bootstrap.figure(losses(manifest, made, truth)[:, None], _mean),
            bootstrap.figure(losses(manifest, baseline, truth)[:, None], _mean),
        ),
    ]


def _of_scores(made: Floats, labels: Floats, bootstrap: Bootstrap) -> list[Metric]:
    scores = made[:, :1].astype(np.float64)
    found = [Metric("mean score", bootstrap.figure(scores, _mean))]
    known = np.isfinite(labels)
    if {0.0, 1.0} <= set(np.unique(labels[known])):

        def area(rows: NDArray[np.intp]) -> float:
            kept = rows[known[rows]]
            return roc_area(scores[kept, 0], labels[kept] == 1)

        found.append(Metric(AREA, bootstrap.figure_of_rows(area)))
    return found


def roc_area(scores: Numbers, anomalous: NDArray[np.bool_]) -> float:
    """Return how often an anomaly scores higher than a normal window, ties counting half.

    Mann and Whitney, 1947. NaN where one of the two kinds does not occur.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ones = int(anomalous.sum())
    zeros = len(scores) - ones
    if not ones or not zeros:
        return float("nan")
    return float((ranks[anomalous].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _mean(means: Numbers) -> Numbers:
    return means[..., 0]


def _macro_f1(means: Numbers) -> Numbers:
    """Return the unweighted mean of F1 over the classes that occur or are said."""
    hit, taken, true = np.split(means, 3, axis=-1)
    either = taken + true
    occurs = either > 0
    scores = np.where(occurs, 2 * hit / np.where(occurs, either, 1), 0)
    return np.asarray(scores.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1), np.float64)
