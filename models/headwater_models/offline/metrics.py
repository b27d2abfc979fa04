"""How well predictions fit labels, each figure with an interval and beside the baseline's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_models.judging import errors, losses, point
from headwater_models.manifest import Manifest
from headwater_models.offline.bootstrap import Bootstrap, Figure, Numbers
from headwater_models.offline.examples import Examples
from headwater_models.offline.grid import Places
from headwater_models.offline.recordings import Floats


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
) -> list[Metric]:
    truth = labels[:, None]
    both = [np.nan_to_num(errors(manifest, said, truth)) for said in (made, baseline)]
    there = np.isfinite(baseline).all(axis=1)
    both = [np.where(there, column, 0.0) for column in both]
    columns = np.stack([*both, both[0] ** 2, both[1] ** 2, there.astype(np.float64)], axis=1)
    found = [
        Metric(
            "mean absolute error",
            bootstrap.figure(columns, lambda m: m[..., 0] / m[..., 4]),
            bootstrap.figure(columns, lambda m: m[..., 1] / m[..., 4]),
        ),
        Metric(
            "root mean squared error",
            bootstrap.figure(columns, lambda m: np.sqrt(m[..., 2] / m[..., 4])),
            bootstrap.figure(columns, lambda m: np.sqrt(m[..., 3] / m[..., 4])),
        ),
        Metric(
            "mean absolute error, as a share of the baseline's",
            bootstrap.figure(columns, lambda m: m[..., 0] / m[..., 1]),
        ),
    ]
    for at, level in enumerate(manifest.quantiles):
        below = (labels <= made[:, at]).astype(np.float64)[:, None]
        found.append(
            Metric(f"share of labels below quantile {level:g}", bootstrap.figure(below, _mean))
        )
    if manifest.quantiles:
        pinball = losses(manifest, made, truth)[:, None]
        found.append(Metric("pinball loss", bootstrap.figure(pinball, _mean)))
    return found


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

        found.append(Metric("area under the ROC curve", bootstrap.figure_of_rows(area)))
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
