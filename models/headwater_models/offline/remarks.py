"""What someone should mind who uses a trained model, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from headwater.settings import Duration
from headwater_models.manifest import Manifest
from headwater_models.offline.examples import Examples
from headwater_models.offline.fit import Fitted
from headwater_models.offline.metrics import Metric, Verdict, verdict
from headwater_models.offline.recordings import Floats
from headwater_models.offline.split import Split

NAMED = 5
"""So many classes are named, and the others counted."""

_UNTRAINED = {
    "forecast": "says what the target was last",
    "regression": "says the mean of the labels",
    "classification": "gives every class the same odds",
    "anomaly": "scores the distance from the mean",
}


def crowding(examples: Examples, rows: int, step: Duration | None = None) -> str:
    """Say how many rows of a table do not count, and what may help; empty where all do.

    Parameters
    ----------
    rows
        Of the table.
    step
        Median time between two rows, where the period of the grid can still be chosen.
    """
    if not examples.crowded:
        return ""
    told = (
        f"{examples.crowded:,} of {rows:,} rows fall into a slot that another row fills, and do "
        "not count"
    )
    if 2 * examples.repeated > examples.crowded:
        return f"{told}: they have the same time; if they are of several things, say --stream."
    if step is not None and examples.period < 2 * step:
        wide, narrow = Duration(2 * examples.period), Duration(examples.period // 2)
        return f"{told}; try --period {wide}, or --period {narrow} --hold 1 to keep every row."
    return f"{told}."


def remarks(
    manifest: Manifest,
    examples: Examples,
    split: Split,
    fitted: Fitted,
    metrics: Sequence[Metric],
    *,
    learns: bool,
) -> Iterator[str]:
    """Yield what to mind in a result.

    Parameters
    ----------
    metrics
        Of the test part.
    learns
        Whether there was anything to train.
    """
    if not learns:
        yield f"All that could be trained is frozen, so it {_UNTRAINED[manifest.task]}."
    elif not fitted.best.number:
        yield (
            "No epoch lowered the validation loss, so the weights are the first ones: it "
            f"{_UNTRAINED[manifest.task]}."
        )
    yield from _of_labels(manifest, examples.labels[split.train], examples.labels[split.test])
    match verdict(metrics):
        case Verdict.WORSE:
            yield _WORSE[manifest.task == "anomaly"]
        case Verdict.OPEN:
            yield _OPEN[manifest.task == "anomaly"]
        case _:
            return


_WORSE = (
    "It is not better than the baseline on data it never saw; try other channels or windows.",
    "Its scores do not tell anomalies from what is usual better than chance.",
)
_OPEN = (
    "Whether it is better than the baseline is open: the interval holds both answers.",
    "Whether its scores tell anomalies from what is usual is open: the interval reaches chance.",
)


def _of_labels(manifest: Manifest, learned: Floats, judged: Floats) -> Iterator[str]:
    known = np.unique(judged[np.isfinite(judged)])
    if manifest.task == "classification":
        if len(known) == 1:
            yield (
                f"The test part holds one class only, {manifest.classes[int(known[0])]}: the "
                "figures say nothing of the others. Another --test, or --group, may hold more."
            )
        unseen = sorted(set(range(manifest.outputs)) - set(np.unique(learned).astype(int).tolist()))
        if unseen:
            names = ", ".join(manifest.classes[at] for at in unseen[:NAMED])
            more = f" and {len(unseen) - NAMED:,} more" if len(unseen) > NAMED else ""
            yield f"The part that it learned from has no example of {names}{more}."
    elif manifest.task == "anomaly" and len(known) == 1:
        kind = "anomalies" if known[0] else "usual windows"
        yield f"The labels of the test part name {kind} only, so nothing says how it tells them."
