"""How well the models beside the first do: their errors on predictions that met a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.met import Met
from headwater_agent.scores import FADING
from headwater_models.judging import errors
from headwater_models.manifest import Manifest


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """Mean error of one version of a model over its labels, and the recent mean.

    Errors are in the target's unit (a share of wrong classes); the recent mean fades as that of
    :class:`headwater_agent.scores.Score` does.
    """

    name: str
    version: str
    labels: int
    error: float
    recent: float


class Ranking:
    """Count the errors of all models at once.

    Parameters
    ----------
    manifest
        Which error counts.
    names, versions
        Of the models, in the order of their predictions.
    """

    def __init__(
        self, manifest: Manifest, names: Sequence[str] = (), versions: Sequence[str] = ()
    ) -> None:
        self._manifest = manifest
        self._names, self._versions = tuple(names), tuple(versions)
        self._labels = np.zeros(len(self._names), np.int64)
        self._sums = np.zeros(len(self._names))
        self._recent = np.zeros(len(self._names))

    def count(self, met: Met) -> None:
        """Count first labels, in their order; an error that is not finite counts for none."""
        said = met.predictions.beside
        if not self._names or said is None:
            return
        truth = np.array(met.labels, np.float32).repeat(len(self._names))
        flat = said.reshape(-1, said.shape[-1])
        table = errors(self._manifest, flat, truth[:, None]).reshape(len(said), -1)
        known = np.isfinite(table)
        loss, count = np.where(known, table, 0.0), known.sum(axis=0)
        after = known[::-1].cumsum(axis=0)[::-1] - known
        self._recent = FADING**count * self._recent + (FADING**after * loss).sum(axis=0)
        self._labels += count
        self._sums += loss.sum(axis=0)

    def report(self) -> tuple[Rank, ...]:
        """Return what is known of each model, in their order."""
        labels = np.maximum(self._labels, 1)
        weights = np.maximum(_weight(self._labels), 1.0)
        return tuple(
            Rank(name=name, version=version, labels=count, error=error, recent=recent)
            for name, version, count, error, recent in zip(
                self._names,
                self._versions,
                self._labels.tolist(),
                (self._sums / labels).tolist(),
                (self._recent / weights).tolist(),
                strict=True,
            )
        )

    def restore(self, ranks: Iterable[Rank]) -> None:
        """Go on from a report; another version of a model begins anew."""
        known = {(rank.name, rank.version): rank for rank in ranks}
        for place, key in enumerate(zip(self._names, self._versions, strict=True)):
            if (rank := known.get(key)) is not None:
                self._labels[place] = rank.labels
                self._sums[place] = rank.error * rank.labels
                self._recent[place] = rank.recent * _weight(np.array([rank.labels]))[0]


def _weight(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what the faded weights of so many labels sum to."""
    return np.asarray((1.0 - FADING**labels) / (1.0 - FADING), np.float64)
