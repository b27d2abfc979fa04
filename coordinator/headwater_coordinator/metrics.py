"""The coordinator's figures as Prometheus reads them, taken from its books as commands take them.

The process that serves devices shows them, so they are there while the federation itself starts
again. No device's name stands in a label: a fleet may have many thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from headwater import __version__
from headwater.errors import SettingsError, StorageError
from headwater.metrics_server import shown
from headwater.metrics_settings import MetricsSettings
from headwater_coordinator.home import Home
from headwater_coordinator.live import Live, read_live
from headwater_coordinator.queries import is_running
from headwater_coordinator.reader import Reader, reading

PREFIX = "headwater_coordinator"

LOSSES = {
    "candidate": "loss_candidate",
    "release": "loss_release",
    "baseline": "loss_baseline",
}


def shown_metrics(home: Home, wanted: MetricsSettings) -> AbstractContextManager[None]:
    """Show a coordinator's figures meanwhile, where that is wanted; paths are from its folder."""
    if not wanted.wanted:
        return nullcontext()
    textfile = home.root / wanted.textfile if wanted.textfile is not None else None
    wanted = msgspec.structs.replace(wanted, textfile=textfile)
    return shown(wanted, lambda: render(home, running=is_running(home)))


def render(home: Home, *, running: bool) -> bytes:
    """Return Prometheus' text format, version 0.0.4; books that cannot be read say nothing."""
    registry = CollectorRegistry()
    found = [
        InfoMetricFamily(PREFIX, "What runs here.", {"program_version": __version__}),
        _gauge("running", "Whether the federation runs.", int(running)),
    ]
    try:
        with reading(home.books) as books:
            found += [*_of_books(books, running=running)]
    except (StorageError, SettingsError):
        found.append(_gauge("books_unreadable", "Whether the books could not be read.", 1))
    live = read_live(home.live) if running else None
    if live is not None:
        found += [*_of_federation(live)]
    registry.register(_Once(found))
    return generate_latest(registry)


def _of_books(books: Reader, *, running: bool) -> Iterator[Metric]:
    number = books.number
    online = number("SELECT sum(online) FROM devices") if running else 0
    yield _gauge("devices_online", "Devices that are there.", online)
    yield _gauge("devices_known", "Devices ever heard of.", number("SELECT count(*) FROM devices"))
    rounds = books.counts("SELECT outcome, count(*) FROM rounds WHERE outcome <> 'open' GROUP BY 1")
    yield _counters("rounds", "Rounds by what came of them.", "outcome", rounds)
    decisions = books.counts(
        "SELECT kind, count(*) FROM decisions WHERE kind IN ('release', 'reject', 'rollback') "
        "GROUP BY 1"
    )
    yield _counters("decisions", "Decisions about versions.", "kind", decisions)
    accepted = number("SELECT count(*) FROM updates")
    yield _counter("accepted_updates", "Updates that were accepted.", accepted)
    refused = number("SELECT count(*) FROM refusals WHERE kind IN ('Update', 'Train')")
    yield _counter("refused_updates", "Updates that were refused.", refused)
    pending = number("SELECT count(*) FROM updates WHERE state = 'accepted'")
    yield _gauge("pending_updates", "Updates that wait for a candidate.", pending)
    received = number("SELECT sum(bytes) FROM devices")
    yield _counter("received_bytes", "Bytes of updates as they were sent.", received)
    yield from _of_release(books)
    count, took = (
        number(f"SELECT {what} FROM rounds WHERE merge_ms IS NOT NULL")  # noqa: S608 - ours
        for what in ("count(*)", "sum(merge_ms)")
    )
    yield SummaryMetricFamily(
        f"{PREFIX}_merge_seconds", "How long merges took.", count_value=count, sum_value=took / 1000
    )


def _of_release(books: Reader) -> Iterator[Metric]:
    sequence, decided_ms = (
        books.number(
            f"SELECT {what} FROM versions WHERE kind = 'release' "  # noqa: S608 - ours
            "ORDER BY sequence DESC LIMIT 1"
        )
        for what in ("sequence", "coalesce(decided_ms, created_ms)")
    )
    yield _gauge("release_sequence", "Sequence of the release.", sequence)
    yield _gauge("release_timestamp_seconds", "When the release was decided.", decided_ms / 1000)
    losses = GaugeMetricFamily(
        f"{PREFIX}_candidate_loss",
        "Mean loss over reserved rows, when a candidate was judged last.",
        labels=["model"],
    )
    for row in books.rows(_Losses, _JUDGED):
        for model, name in LOSSES.items():
            losses.add_metric([model], getattr(row, name))
    yield losses


class _Losses(msgspec.Struct, frozen=True):
    loss_candidate: float
    loss_release: float
    loss_baseline: float


_JUDGED = """
    SELECT loss_candidate, loss_release, loss_baseline FROM versions
    WHERE devices > 0 ORDER BY decided_ms DESC LIMIT 1
"""


def _of_federation(live: Live) -> Iterator[Metric]:
    phase = GaugeMetricFamily(f"{PREFIX}_phase", "1 for where it stands.", labels=["phase"])
    phase.add_metric([live.phase], 1)
    yield phase
    yield _gauge("round", "Number of the round.", live.round)
    yield _gauge("devices_at_work", "Devices asked that have not answered.", live.open)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", about, value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"{PREFIX}_{name}", about, value)


def _counters(name: str, about: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", about, labels=[label])
    for word, count in sorted(counts.items()):
        family.add_metric([word], count)
    return family


class _Once(Collector):
    """Hands over what was collected already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
