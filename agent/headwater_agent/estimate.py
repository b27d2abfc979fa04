"""How wrong the model is likely to be now, told before any label comes.

Classification: confidence-based performance estimation. The confidence of each prediction is
calibrated on the labelled past, by bins of its logit made monotone (isotonic regression); what
the calibrated confidence leaves to 1 is the expected share of wrong predictions. Numbers: direct
loss estimation. The absolute error is regressed on what is known at prediction time: the
prediction, how far personal, released and baseline disagree, the share of missing cells, and the
spread within the window. Anomaly scores have no such estimate.

Both follow covariate shift, and neither can see concept drift, where the same inputs come to mean
something else; that shows in labels alone (:mod:`headwater_agent.drift`). Sources: NannyML's
documentation, "Performance estimation" (CBPE and DLE, there with gradient boosting in place of
our linear regression); Guillory et al., "Predicting with confidence on unseen distributions",
ICCV 2021.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater_agent.drift_settings import DriftSettings
from headwater_agent.events import Alarm, Floats
from headwater_agent.pieces import Pieces, without
from headwater_agent.predictions import Predictions
from headwater_models.judging import point
from headwater_models.manifest import Manifest

MEMORY = 0.9998
"""Weight of the labelled past at each further label: about the last 5,000 count."""

LEAST = 200
"""With fewer labels nothing is estimated."""

TOGETHER = 256
"""Predictions, and labels, that are looked at in one go: one by one would cost ten times more."""

CHUNKS = 10
"""The chunks of a stream that its band is first taken from."""

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]


class Chunks(msgspec.Struct):
    """One stream: the sum of signals in its open chunk, and the moments of the chunks before."""

    signals: list[float] = []
    count: int = 0
    chunks: int = 0
    newest: float | None = None
    mean: float = 0.0
    m2: float = 0.0

    def close(self, expected: float, band: float) -> float | None:
        """Take the error expected of a chunk.

        Returns
        -------
        float or None
            The mean before it, where it lies *band* standard deviations above.
        """
        self.newest = expected
        if self.chunks >= CHUNKS:
            before = self.mean
            if expected > before + band * sqrt(self.m2 / (self.chunks - 1)):
                self.chunks, self.mean, self.m2 = 0, 0.0, 0.0
                return before
        self.chunks += 1
        off = expected - self.mean
        self.mean += off / self.chunks
        self.m2 += off * (expected - self.mean)
        return None


class SavedEstimate(msgspec.Struct):
    """All that an estimate knows, as numbers."""

    labels: float
    learned: list[float]
    streams: dict[str, Chunks]


class Estimate:
    """The expected error of each stream, in chunks of predictions.

    Parameters
    ----------
    manifest
        Its task decides the method.
    settings
        Length of a chunk, width of the band, number of streams.

    Attributes
    ----------
    labels
        Labelled predictions learned from, older ones counting less.
    """

    def __init__(self, manifest: Manifest, settings: DriftSettings) -> None:
        self.labels = 0.0
        self._settings = settings
        self._method: _Method | None = None
        if settings.watches("estimate") and manifest.task != "anomaly":
            classes = manifest.task == "classification"
            self._method = _Confidence(manifest) if classes else _Loss(manifest)
        self._streams: dict[str, Chunks] = {}
        self._made = Pieces()
        self._labelled = Pieces()

    def forget(self, stream: str) -> None:
        """Begin the chunks of a stream anew; what labels taught of the model goes on."""
        self._streams.pop(stream, None)
        self._made.leave_out(stream)

    def learn(self, predictions: Predictions, windows: Floats, losses: Numbers) -> None:
        """Take predictions whose labels came.

        Parameters
        ----------
        predictions, windows
            As they were made, the windows float32 ``[N, T, C]``.
        losses
            The error of what was served, ``[N]``; what is not finite is passed over.
        """
        if self._method is None:
            return
        known = np.flatnonzero(np.isfinite(losses))
        if len(known) < len(predictions):
            predictions = predictions.take(known)
            windows, losses = windows[known], losses[known]
        self._labelled.add(predictions, windows, losses)
        if len(self._labelled) >= TOGETHER:
            self._learn(self._method)

    def expect(self, predictions: Predictions, windows: Floats) -> list[Alarm]:
        """Take predictions as they are made; return an alarm where a chunk looks worse.

        Parameters as of :meth:`learn`.
        """
        method, due = self._method, False
        if method is None:
            return []
        beyond: set[str] = set()
        for name, count in Counter(predictions.streams).items():
            if (stream := self._stream(name)) is None:
                beyond.add(name)
            else:
                stream.count += count
                due |= stream.count >= self._settings.estimate.chunk
        self._made.add(*without(beyond, predictions, windows))
        if due:
            self._learn(method)
        return self._sum(method) if due or len(self._made) >= TOGETHER else []

    def expected(self, stream: str) -> float | None:
        """Return the error expected of a stream's newest whole chunk; None before the first."""
        known = self._streams.get(stream)
        return known.newest if known is not None else None

    def save(self) -> SavedEstimate:
        """Return all that was learned."""
        if self._method is None:
            return SavedEstimate(0.0, [], {})
        self._sum(self._method)
        self._learn(self._method)
        return SavedEstimate(self.labels, self._method.learned.ravel().tolist(), self._streams)

    def restore(self, saved: SavedEstimate) -> None:
        """Go on from there; what belongs to another model or method is left aside."""
        if self._method is None or len(saved.learned) != self._method.learned.size:
            return
        self.labels = saved.labels
        self._method.learned[:] = np.reshape(saved.learned, self._method.learned.shape)
        self._streams = saved.streams

    def _stream(self, name: str) -> Chunks | None:
        if name not in self._streams and len(self._streams) < self._settings.streams:
            self._streams[name] = Chunks()
        return self._streams.get(name)

    def _sum(self, method: _Method) -> list[Alarm]:
        """Add the signals of what was predicted to the chunks, and close those that are whole."""
        if not self._made:
            return []
        predictions, windows, _ = self._made.drain()
        signals = method.signals(predictions, windows)
        weights = method.weights() if self.labels >= LEAST else None
        streams, times = predictions.streams, predictions.times
        places = _places(streams)
        ends = [
            end
            for name, own in places.items()
            for end in self._fill(self._streams[name], signals, own, weights)
        ]
        return [
            Alarm(streams[end], int(times[end]), "estimate", "", expected, before)
            for end, expected, before in sorted(ends)
        ]

    def _fill(
        self, stream: Chunks, signals: Numbers, places: Places, weights: Numbers | None
    ) -> Iterator[tuple[int, float, float]]:
        """Fill the chunks of a stream with the signals at these places.

        Yields the end of each that looks worse, the error expected of it, and the one before;
        without weights nothing is expected.
        """
        stream.count -= len(places)
        settings = self._settings.estimate
        while len(places):
            room = max(1, settings.chunk - stream.count)
            own, places = places[:room], places[room:]
            before = [np.array([stream.signals])] if stream.signals else []
            stream.signals = np.concatenate([*before, signals[own]]).cumsum(axis=0)[-1].tolist()
            stream.count += len(own)
            if stream.count < settings.chunk:
                return
            sums, count = np.array(stream.signals), stream.count
            stream.signals, stream.count = [], 0
            if weights is not None:
                expected = max(0.0, float(sums @ weights) / count)
                usual = stream.close(expected, settings.band)
                if usual is not None:
                    yield int(own[-1]), expected, usual

    def _learn(self, method: _Method) -> None:
        """Take what was labelled into the method."""
        if not self._labelled:
            return
        predictions, windows, losses = self._labelled.drain()
        signals = method.signals(predictions, windows)
        fade = MEMORY ** len(predictions)
        self.labels = fade * self.labels + len(predictions)
        method.learned *= fade
        method.learn(signals, losses)


class _Method(Protocol):
    """Expects an error that is linear in the signals of a prediction."""

    learned: Numbers

    def signals(self, predictions: Predictions, windows: Floats) -> Numbers:
        """Return ``[N, F]``: what is known of each prediction when it is made."""

    def learn(self, signals: Numbers, losses: Numbers) -> None:
        """Take labelled predictions."""

    def weights(self) -> Numbers:
        """Return ``[F]``: the expected error is the signals times these."""


class _Confidence:
    """Signals say in which bin the confidence lies; weights are what each bin gets wrong."""

    def __init__(self, manifest: Manifest) -> None:
        del manifest
        self._edges = np.linspace(-4, 8, 25)
        self.learned = np.zeros((2, len(self._edges) + 1))
        """How many predictions fell into each bin, and how many of them were wrong."""

    def signals(self, predictions: Predictions, windows: Floats) -> Numbers:
        del windows
        said = predictions.said
        served: Floats = np.where(predictions.personal[:, None], said[:, 1], said[:, 0])
        sure: Numbers = np.clip(served.max(axis=1).astype(np.float64), 1e-6, 1 - 1e-6)
        bins = np.searchsorted(self._edges, np.log(sure / (1 - sure)))
        return np.eye(self.learned.shape[1])[bins]

    def learn(self, signals: Numbers, losses: Numbers) -> None:
        self.learned += np.stack([signals.sum(axis=0), losses @ signals])

    def weights(self) -> Numbers:
        """Return the share of wrong ones in each bin, never rising with confidence.

        Each bin also counts one prediction of which its own confidence is believed.
        """
        step = self._edges[1] - self._edges[0]
        centres = np.append(self._edges, self._edges[-1] + step) - step / 2
        count, wrong = self.learned
        return -isotonic(-(wrong + 1 / (1 + np.exp(centres))) / (count + 1), count + 1)


class _Loss:
    """Signals are what large errors come with; weights are a ridge regression on them."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._reach = np.array([c.maximum - c.minimum for c in manifest.channels])
        self.learned = np.zeros((6, 7))
        """The signals' Gram matrix, and their product with the losses in the last column."""

    def signals(self, predictions: Predictions, windows: Floats) -> Numbers:
        released, personal, baseline = (
            point(self._manifest, said) for said in predictions.said.swapaxes(0, 1)
        )
        said = np.where(predictions.personal, personal, released)
        missing = np.isnan(windows)
        columns = [
            np.ones(len(said)),
            said,
            np.abs(personal - released),
            np.abs(said - baseline),
            missing.mean(axis=(1, 2)) if missing.any() else np.zeros(len(said)),
            self._spread(windows),
        ]
        known = np.stack(columns, axis=1).astype(np.float64)
        return np.where(np.isfinite(known), known, 0.0)

    def learn(self, signals: Numbers, losses: Numbers) -> None:
        self.learned += signals.T @ np.column_stack([signals, losses])

    def weights(self) -> Numbers:
        gram, cross = self.learned[:, :-1], self.learned[:, -1]
        penalty = np.diag(1e-3 * np.diag(gram) + 1e-9)
        return np.asarray(np.linalg.solve(gram + penalty, cross), np.float64)

    def _spread(self, windows: Floats) -> Numbers:
        """Return the standard deviation within each window ``[N]``.

        Of the target in a forecast, else of the channels by their ranges, on the average.
        """
        cells: Numbers
        if self._manifest.task == "forecast":
            at = self._manifest.target_index
            cells = windows[:, :, at : at + 1].astype(np.float64)
        else:
            cells = windows.astype(np.float64) / self._reach
        there = np.isfinite(cells)
        count: Places | int = cells.shape[1]
        if there.all():
            cells -= (cells.sum(axis=1) / count)[:, None]
        else:
            count = np.maximum(there.sum(axis=1), 1)
            mean = np.where(there, cells, 0).sum(axis=1) / count
            cells = np.where(there, cells - mean[:, None], 0)
        squares = np.square(cells, out=cells).sum(axis=1)
        return np.asarray(np.sqrt(squares / count).mean(axis=1), np.float64)


def _places(streams: Sequence[str]) -> dict[str, Places]:
    """Return where each stream is, in order."""
    if streams.count(streams[0]) == len(streams):
        return {streams[0]: np.arange(len(streams))}
    places: dict[str, list[int]] = {}
    for place, stream in enumerate(streams):
        places.setdefault(stream, []).append(place)
    return {stream: np.array(own) for stream, own in places.items()}


def isotonic(values: Numbers, weights: Numbers) -> Numbers:
    """Return the nearest sequence that never falls, in weighted squares.

    The pool adjacent violators algorithm (Ayer et al., 1955).

    Parameters
    ----------
    values, weights
        ``[N]``; each weight is above zero.

    Examples
    --------
    >>> isotonic(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4)).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (high, above, size), (low, below, others) = pools[-2:]
            joined = (high * above + low * below) / (above + below)
            pools[-2:] = [(joined, above + below, size + others)]
    return np.repeat([value for value, _, _ in pools], [size for _, _, size in pools])
