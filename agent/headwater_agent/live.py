"""What an owner wants to see of a running agent at once: rates, latencies, the connection."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

LATENCIES = 2_000
"""Newest predictions that the latency percentiles are taken over."""

RATE_WINDOW_S = 5.0
"""Seconds that the record rate is a mean over."""


class LiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``live.json``; latencies are from receipt to publication, milliseconds."""

    connected: bool
    trouble: str
    records_per_s: float
    latency_p50_ms: float
    latency_p99_ms: float
    predictions: int
    refused: dict[str, int]


class Live:
    """Collects what :class:`LiveReport` says."""

    def __init__(self) -> None:
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._arrivals: deque[tuple[float, int]] = deque()
        self._predictions = 0
        self._refused: Counter[str] = Counter()

    def arrived(self, records: int, monotonic: float) -> None:
        """Count records that came in at a moment of the monotonic clock, seconds."""
        self._arrivals.append((monotonic, records))
        self._forget(monotonic)

    def predicted(self, latency_ms: float) -> None:
        """Count a prediction and how long it took."""
        self._predictions += 1
        self._latencies.append(latency_ms)

    def refused(self, counts: Mapping[str, int]) -> None:
        """Add refusals by reason."""
        self._refused.update(counts)

    def report(self, monotonic: float, *, connected: bool, trouble: str) -> bytes:
        """Return the report as JSON."""
        self._forget(monotonic)
        latencies = np.array(self._latencies or [0.0])
        report = LiveReport(
            connected=connected,
            trouble=trouble,
            records_per_s=sum(count for _, count in self._arrivals) / RATE_WINDOW_S,
            latency_p50_ms=float(np.percentile(latencies, 50)),
            latency_p99_ms=float(np.percentile(latencies, 99)),
            predictions=self._predictions,
            refused=dict(self._refused),
        )
        return msgspec.json.encode(report)

    def _forget(self, monotonic: float) -> None:
        while self._arrivals and self._arrivals[0][0] < monotonic - RATE_WINDOW_S:
            self._arrivals.popleft()


def write_live(path: Path, content: bytes) -> None:
    """Replace a status file; it is whole at any time but not forced to the disk, to spare flash."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.replace(path)
