"""What an owner wants to see of a running agent at once: rates, latencies, the connection."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from headwater_agent.events import Mark
from headwater_agent.learner import Learner
from headwater_agent.ranking import Rank

LATENCIES = 2_000
"""Newest predictions that the latency percentiles are taken over."""

LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the histogram of latencies; a last part takes what is above."""

RATE_WINDOW_S = 5.0
"""Seconds that the record rate is a mean over."""


class LiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``live.json``; latencies are from receipt to publication.

    ``latency_counts`` has one for each part of the histogram, none added to the next. ``errors``
    are recent means of baseline, released, personal and served. All counts are since the start.
    """

    connected: bool
    trouble: str
    records_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float
    latency_counts: tuple[int, ...]
    latency_sum_s: float
    predictions: int
    refused: dict[str, int]
    marked: dict[str, int]
    steps: int
    errors: dict[str, float]
    serves_personal: bool
    silent: tuple[str, ...] = ()
    """Streams that are not heard of any more."""

    clock: str = ""
    """Why records without a time of their own are not learned from; empty where they are."""


class Live:
    """Collects what :class:`LiveReport` says."""

    def __init__(self) -> None:
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._arrivals: deque[tuple[float, int]] = deque()
        self._fresh: list[tuple[float, int]] = []
        self._latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._latency_sum_s = 0.0
        self._predictions = 0
        self._refused: Counter[str] = Counter()
        self._marked: Counter[str] = Counter()

    def arrived(self, records: int, monotonic: float) -> None:
        """Count records that came in at a moment of the monotonic clock, seconds."""
        self._arrivals.append((monotonic, records))
        self._forget(monotonic)

    def predicted(self, latency_ms: float, predictions: int = 1) -> None:
        """Count predictions that went out together, and how long they took."""
        self._fresh.append((latency_ms, predictions))

    def refused(self, counts: Mapping[str, int]) -> None:
        """Add refusals by reason."""
        self._refused.update(counts)

    def marked(self, marks: Iterable[Mark]) -> None:
        """Count values that the guard keeps aside, by their reason."""
        self._marked.update(mark.reason for mark in marks)

    def report(
        self,
        monotonic: float,
        *,
        connected: bool,
        trouble: str,
        learner: Learner,
        silent: Iterable[str] = (),
        clock: str = "",
    ) -> bytes:
        """Return the report as JSON."""
        score = learner.score
        self._take_fresh()
        self._forget(monotonic)
        latencies = sorted(self._latencies or [0.0])
        report = LiveReport(
            connected=connected,
            trouble=trouble,
            records_per_s=sum(count for _, count in self._arrivals) / RATE_WINDOW_S,
            latency_p50_ms=_percentile(latencies, 0.5),
            latency_p99_ms=_percentile(latencies, 0.99),
            latency_counts=tuple(self._latency_counts),
            latency_sum_s=self._latency_sum_s,
            predictions=self._predictions,
            refused=dict(self._refused),
            marked=dict(self._marked),
            steps=learner.steps,
            errors={
                "baseline": score.recent_baseline,
                "released": score.recent_released,
                "personal": score.recent_personal,
                "served": score.recent_served,
            },
            serves_personal=learner.served.serving == "personal",
            silent=tuple(silent),
            clock=clock,
        )
        return msgspec.json.encode(report)

    def _take_fresh(self) -> None:
        """Count the latencies since the last report, which predicting need not wait for."""
        for latency_ms, predictions in self._fresh:
            self._latencies.extend([latency_ms] * min(predictions, LATENCIES))
            self._latency_counts[bisect_left(LATENCY_BOUNDS_S, latency_ms / 1000)] += predictions
            self._latency_sum_s += latency_ms * predictions / 1000
            self._predictions += predictions
        self._fresh.clear()

    def _forget(self, monotonic: float) -> None:
        while self._arrivals and self._arrivals[0][0] < monotonic - RATE_WINDOW_S:
            self._arrivals.popleft()


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return what so large a share is below, between two numbers in proportion."""
    place = share * (len(ordered) - 1)
    low, high = ordered[int(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place % 1)


def write_live(path: Path, content: bytes) -> None:
    """Replace a status file; it is whole at any time but not forced to the disk, to spare flash."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.replace(path)


def read_ranks(path: Path) -> tuple[Rank, ...]:
    """Read how well the models beside the first do; nothing where none ever ran."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Rank, ...])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ()
