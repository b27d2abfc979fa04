"""What the models say of the windows of a batch, before any label of theirs is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import isfinite

import numpy as np

from headwater_agent.baseline import persistence
from headwater_agent.columns import slot_numbers
from headwater_agent.cuts import Cut, CutRun, told_of
from headwater_agent.events import Floats, Infer, Inferred, Windows
from headwater_agent.learner import Learner
from headwater_agent.predictions import Predictions
from headwater_agent.stacking import stack
from headwater_agent.streams import Streams
from headwater_models.manifest import Manifest

FEW = 16
"""Fewer numbers are looked at faster one by one."""

DEGRADED_MISSING = 0.25
"""Share of missing cells from which on a prediction says that its quality is degraded."""


class Predicting:
    """Ask for the outputs of released and personal, and make predictions of them.

    Parameters
    ----------
    manifest
        Period and baseline.
    learner
        Whose models are asked, and which of them is served.
    streams
        Whose baselines and thresholds stand beside.

    Attributes
    ----------
    held
        Whether nothing that is predicted now is to be learned from.
    """

    def __init__(self, manifest: Manifest, learner: Learner, streams: Streams) -> None:
        self.held = False
        self._manifest = manifest
        self._period = int(manifest.grid.period)
        self._target = manifest.target_index if manifest.task == "forecast" else 0
        self._outputs = manifest.outputs
        self._learner = learner
        self._streams = streams

    def ask(self, cut: Sequence[Cut]) -> Infer:
        """Ask both models about windows."""
        learner = self._learner
        return Infer(
            self._lay_out(cut),
            {"released": learner.version.weights, "personal": learner.personal.parameters},
        )

    def make(self, cut: Sequence[Cut], answer: Inferred) -> tuple[Predictions, bool]:
        """Make predictions of the answer, and say whether the personal model is sane.

        One whose outputs are not finite where the release's are is not served.
        """
        released, personal = answer.outputs["released"], answer.outputs["personal"]
        sane = _is_finite(personal) or not _is_finite(released)
        serving = self._learner.served.serving if sane else "released"
        version = self._learner.version.name
        windows, count, held = answer.windows, len(cut), self.held
        said = np.empty((count, 3, self._outputs), np.float32)
        said[:, 0], said[:, 1], said[:, 2] = released, personal, self._baselines(windows)
        received, marked, missing = told_of(cut)
        made = Predictions(
            ids=_ids(windows, version),
            streams=windows.streams,
            times=windows.times,
            versions=[version] * count,
            said=said,
            qualities=[
                "degraded" if doubted or share > DEGRADED_MISSING else "ok"
                for doubted, share in zip(marked, missing, strict=True)
            ],
            received=received,
            served=[serving] * count,
            thresholds=self._streams.judge(windows.streams, released, personal),
            marked=[True] * count if held else marked,
            beside=answer.beside,
        )
        return made, sane

    def _lay_out(self, cut: Sequence[Cut]) -> Windows:
        if type(cut) is CutRun:
            times = slot_numbers(cut.rows) * self._period
            windows = np.ascontiguousarray(cut.windows)
            return Windows((cut.rows.stream,) * len(cut), times, windows)
        return Windows(
            streams=tuple([one.row.stream for one in cut]),
            times=np.array([one.row.slot * self._period for one in cut], np.int64),
            values=cut[0].window[None] if len(cut) == 1 else stack([one.window for one in cut]),
        )

    def _baselines(self, windows: Windows) -> Sequence[Floats] | Floats:
        if self._manifest.task == "forecast":
            return persistence(windows.values, self._target, self._outputs)
        return [self._streams[name].baseline.predict() for name in windows.streams]


def _is_finite(made: Floats) -> bool:
    if made.size < FEW:
        return all(map(isfinite, made.ravel().tolist()))
    return bool(np.isfinite(made).all())


def _ids(windows: Windows, version: str) -> list[str]:
    streams, times = windows.streams, windows.times.tolist()
    if streams.count(streams[0]) == len(streams):
        key = _key(streams[0], version)
        return [f"{key}{time:x}" for time in times]
    return [f"{_key(stream, version)}{time:x}" for stream, time in zip(streams, times, strict=True)]


@lru_cache(maxsize=65_536)
def _key(stream: str, version: str) -> str:
    """Name a stream's predictions by a version; with a time it is always that window's name."""
    return blake2b(f"{stream}\n{version}".encode(), digest_size=8).hexdigest()
