"""What the models say of the windows of a batch, before any label of theirs is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import repeat

import numpy as np

from headwater_agent.baseline import persistence
from headwater_agent.events import Floats, Infer, Inferred, Prediction, Windows
from headwater_agent.learner import Learner
from headwater_agent.stacking import stack
from headwater_agent.streams import Cut, Streams
from headwater_models.manifest import Manifest

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
        self._learner = learner
        self._streams = streams

    def ask(self, cut: Sequence[Cut]) -> Infer:
        """Ask both models about windows."""
        windows = Windows(
            streams=tuple(one.row.stream for one in cut),
            times=np.array([one.row.slot * self._period for one in cut], np.int64),
            values=stack([one.window for one in cut]),
            received=np.array([one.received for one in cut], np.int64),
        )
        learner = self._learner
        return Infer(
            windows,
            {"released": learner.version.weights, "personal": learner.personal.parameters},
        )

    def make(self, cut: Sequence[Cut], answer: Inferred) -> tuple[tuple[Prediction, ...], bool]:
        """Make predictions of the answer, and say whether the personal model is sane.

        One whose outputs are not finite where the release's are is not served.
        """
        released, personal = answer.outputs["released"], answer.outputs["personal"]
        sane = bool(np.isfinite(personal).all()) or not np.isfinite(released).all()
        serving = self._learner.served.serving if sane else "released"
        version = self._learner.version.name
        streams, times = answer.windows.streams, answer.windows.times.tolist()
        made = tuple(
            Prediction(
                id=prediction_id(one.row.stream, time, version),
                stream=one.row.stream,
                time=time,
                version=version,
                released=ours,
                personal=theirs,
                baseline=baseline,
                quality="degraded" if one.marked or one.missing > DEGRADED_MISSING else "ok",
                received=one.received,
                served=serving,
                marked=one.marked or self.held,
                thresholds=limits,
                beside=others,
            )
            for one, time, ours, theirs, baseline, limits, others in zip(
                cut,
                times,
                released,
                personal,
                self._baselines(answer.windows),
                self._streams.judge(streams, released, personal),
                repeat(None, len(cut)) if answer.beside is None else answer.beside,
                strict=True,
            )
        )
        return made, sane

    def _baselines(self, windows: Windows) -> Iterable[Floats]:
        if self._manifest.task == "forecast":
            return persistence(self._manifest, windows.values)
        return (self._streams[name].baseline.predict() for name in windows.streams)


def prediction_id(stream: str, time: int, version: str) -> str:
    """Name a prediction: the same version of the same window always gives the same name."""
    return f"{_key(stream, version)}{time:x}"


@lru_cache(maxsize=65_536)
def _key(stream: str, version: str) -> str:
    return blake2b(f"{stream}\n{version}".encode(), digest_size=8).hexdigest()
