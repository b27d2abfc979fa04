"""The agent's figures as Prometheus reads them, taken from its files as ``status`` takes them.

Counters that are not stored begin again with the process, which Prometheus allows for. There is no
name of a stream in a label: a device may have thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from headwater import __version__
from headwater.wire import CheckedIn
from headwater_agent.live import LATENCY_BOUNDS_S, LiveReport, read_ranks
from headwater_agent.ranking import Rank
from headwater_agent.settings import AgentSettings
from headwater_agent.status import SyncStatus, read_report, read_sync

PREFIX = "headwater_agent"

MESSAGES = {
    "unsent": "Our own messages that were dropped before the broker had them.",
    "not-taken": "Our own messages that the broker did not take.",
    "repeated": "Messages that the broker sent again although they were taken up.",
}
"""Counts of what happened on the way to and from the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the files say; None where they are not there yet."""

    device: str
    checked_in: CheckedIn | None
    live: LiveReport | None
    written_s: float
    """When ``live`` was written, in seconds since 1970: an agent that hangs stops doing so."""

    sync: SyncStatus | None
    store_bytes: int
    beside: tuple[Rank, ...] = ()


def read_facts(settings: AgentSettings) -> Facts:
    """Read the figures of an agent; files that are not there or damaged say nothing."""
    checked_in, live = read_report(settings)
    return Facts(
        device=settings.device,
        checked_in=checked_in,
        live=live,
        written_s=settings.live.stat().st_mtime if live is not None else 0.0,
        sync=read_sync(settings),
        store_bytes=_size(settings.agent_db.parent),
        beside=read_ranks(settings.beside_ranks),
    )


def render(facts: Facts) -> bytes:
    """Return Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Once(list(families(facts))))
    return generate_latest(registry)


def families(facts: Facts) -> Iterator[Metric]:
    """Yield every metric that is known."""
    yield _gauge("store_bytes", "Size of the agent's own files.", facts.store_bytes)
    if facts.checked_in is not None:
        yield from _of_model(facts.device, facts.checked_in)
    if facts.live is not None:
        yield from _of_loop(facts.live, facts.written_s)
    if facts.sync is not None:
        yield from _of_sync(facts.sync)
    if facts.beside:
        yield from _of_models_beside(facts.beside)


def _of_model(device: str, said: CheckedIn) -> Iterator[Metric]:
    about = {
        "device": device,
        "model": said.model,
        "version": said.version,
        "program_version": __version__,
    }
    yield InfoMetricFamily(PREFIX, "What runs here.", about)
    yield _gauge("version_sequence", "Sequence of the release.", said.sequence)
    yield _counter("records", "Records taken up.", said.records)
    yield _counter("examples", "Windows that met their label.", said.examples)
    yield _counter("labels", "Predictions that met their label.", said.scored)
    yield _counter("alarms", "Changes that the drift detectors saw.", said.alarms)


def _of_loop(live: LiveReport, written_s: float) -> Iterator[Metric]:
    yield _gauge(
        "last_report_timestamp_seconds", "When the agent's loop last said how it is.", written_s
    )
    yield _gauge("connected", "Whether the broker has taken the connection.", int(live.connected))
    yield _counter("predictions", "Predictions published.", live.predictions)
    counts = dict(live.refused)
    for name, about in MESSAGES.items():
        yield _counter(f"{name.replace('-', '_')}_messages", about, counts.pop(name, 0))
    yield _counters("refused", "Records and messages that could not be used.", counts)
    yield _counters("marked", "Values that the guard keeps aside.", live.marked)
    yield _counter("learning_steps", "Steps of the optimiser.", live.steps)
    yield _gauge(
        "serving_personal", "Whether the personal model is published.", int(live.serves_personal)
    )
    yield _gauge("silent_streams", "Streams that are not heard of any more.", len(live.silent))
    errors = GaugeMetricFamily(
        f"{PREFIX}_recent_error",
        "Mean error over about the last 500 labels: absolute error, or the share of wrong classes.",
        labels=["model"],
    )
    for model, error in live.errors.items():
        errors.add_metric([model], error)
    yield errors
    yield HistogramMetricFamily(
        f"{PREFIX}_prediction_latency_seconds",
        "From the receipt of a record to the publication of its prediction.",
        buckets=_buckets(live),
        sum_value=live.latency_sum_s,
    )


def _of_sync(sync: SyncStatus) -> Iterator[Metric]:
    yield _counter("sent_bytes", "Bytes that left for the coordinator.", sync.bytes_sent)
    yield _counter("answers", "Answers that left for the coordinator.", sync.answers)
    for name, about, time_ms in (
        ("last_answer", "When the newest answer left.", sync.sent_ms),
        ("last_release", "When the newest release came.", sync.received_ms),
    ):
        if time_ms is not None:
            yield _gauge(f"{name}_timestamp_seconds", about, time_ms / 1000)


def _of_models_beside(ranks: Iterable[Rank]) -> Iterator[Metric]:
    labels = CounterMetricFamily(
        f"{PREFIX}_beside_labels",
        "Predictions of the models beside the first that met their label.",
        labels=["model"],
    )
    errors = GaugeMetricFamily(
        f"{PREFIX}_beside_recent_error",
        "Mean error of the models beside the first over about the last 500 labels.",
        labels=["model"],
    )
    for rank in ranks:
        labels.add_metric([rank.name], rank.labels)
        if rank.labels:
            errors.add_metric([rank.name], rank.recent)
    yield labels
    yield errors


def _buckets(live: LiveReport) -> list[tuple[str, float]]:
    total = 0
    made = []
    for bound, count in zip((*LATENCY_BOUNDS_S, "+Inf"), live.latency_counts, strict=True):
        total += count
        made.append((str(bound), float(total)))
    return made


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", about, value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"{PREFIX}_{name}", about, value)


def _counters(name: str, about: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", about, labels=["reason"])
    for reason, count in sorted(counts.items()):
        family.add_metric([reason.removeprefix("refused-")], count)
    return family


class _Once(Collector):
    """Hands over what was collected already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue  # it went while we looked
    return total
