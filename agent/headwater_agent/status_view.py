"""The status of an agent as tables for a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from headwater_agent.moments import show_moment
from headwater_agent.status import AgentStatus, Errors
from headwater_agent.watch import about
from headwater_models.manifest import Manifest

SHOWN = 10
"""Models beside the first that are shown."""


def show(status: AgentStatus, manifest: Manifest, console: Console) -> None:
    """Print a status."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _about(status, manifest):
        facts.add_row(name, value)
    console.print(facts)
    if status.streams:
        streams = _table(
            "stream",
            "rows",
            "examples",
            "until",
            "labels",
            "baseline",
            "released",
            "personal",
            "served",
        )
        for stream in status.streams:
            until = "" if stream.until_ms is None else show_moment(stream.until_ms)
            until += ", silent" if stream.silent else ""
            counts = (f"{stream.rows:,}", f"{stream.examples:,}")
            streams.add_row(stream.name, *counts, until, *_compared(stream.errors))
        console.print(streams)
    if status.beside:
        _show_beside(status, console)
    if status.alarms:
        alarms = _table("alarm", "stream", "about", "seen by", "lately", "before")
        for alarm in status.alarms:
            what = alarm.channel or about(alarm)
            numbers = (f"{alarm.value:.4g}", f"{alarm.before:.4g}")
            alarms.add_row(show_moment(alarm.time), alarm.stream, what, alarm.detector, *numbers)
        console.print(alarms)
    if status.happened:
        happened = _table("time", "what", "")
        for item in status.happened:
            happened.add_row(show_moment(item.time_ms), item.kind, item.detail)
        console.print(happened)


def _show_beside(status: AgentStatus, console: Console) -> None:
    """Print the best of the models beside the first, and how many there are."""
    table = _table("beside", "version", "labels", "error", "recent error")
    for rank in status.beside[:SHOWN]:
        means = (f"{rank.error:.4g}", f"{rank.recent:.4g}") if rank.labels else ("", "")
        table.add_row(rank.name, rank.version[:12], f"{rank.labels:,}", *means)
    console.print(table)
    if (more := len(status.beside) - SHOWN) > 0:
        console.print(f"and {more:,} more, whose recent error is larger (--json has all)")


def _about(status: AgentStatus, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "device", f"{status.device}, {'running' if status.running else 'not running'}"
    yield "version", f"{status.version[:12] or 'none yet'}, sequence {status.sequence}"
    if status.live is not None:
        live = status.live
        yield "broker", "connected" if live.connected else live.trouble or "not connected"
        yield "rate", f"{live.records_per_s:,.1f} records/s"
        yield "latency", f"{live.latency_p50_ms:.2f} ms median, {live.latency_p99_ms:.2f} ms p99"
        if live.clock:
            yield "clock", f"records without a time are not learned from: {live.clock}"
    if status.paused:
        yield "paused", " and ".join(status.paused)
    yield "records", f"{status.records:,}"
    yield "error", _errors(status, manifest)
    if status.served is not None:
        served = status.served
        yield "served", f"{served.serving}, excess {served.excess:.4g} of {served.bound:.4g}"
    if status.aside.values or status.aside.windows:
        values = ", ".join(f"{count:,} {name}" for name, count in status.aside.values.items())
        yield "kept aside", f"{values or 'no values'}; {status.aside.windows:,} windows held back"
    if status.outbox:
        yield "outbox", f"{status.outbox:,} messages wait for the broker"
    if status.sync is not None:
        sync = status.sync
        received = "none yet" if sync.received_ms is None else show_moment(sync.received_ms)
        yield "last release", received
        sent = "" if sync.sent_ms is None else f", last {show_moment(sync.sent_ms)}"
        yield "sent", f"{sync.answers:,} answers, {sync.bytes_sent:,} bytes{sent}"
        if sync.waiting is not None:
            since = show_moment(sync.waiting.since_ms)
            yield "federation", f"waits since {since}: {sync.waiting.reason}"
    for name, value in sorted(status.counters.items()):
        yield name, f"{value:,}"


def _errors(status: AgentStatus, manifest: Manifest) -> str:
    errors = status.errors
    if errors is None:
        return "no prediction has met its label yet"
    kind = "wrong" if manifest.task == "classification" else "MAE"
    return (
        f"{kind} {errors.baseline:.4g} baseline, {errors.released:.4g} released, "
        f"{errors.personal:.4g} personal, {errors.served:.4g} served, "
        f"over {errors.scored:,} predictions"
    )


def _compared(errors: Errors | None) -> tuple[str, ...]:
    """Return a stream's labels and the error of each model."""
    if errors is None:
        return ("",) * 5
    means = (errors.baseline, errors.released, errors.personal, errors.served)
    return (f"{errors.scored:,}", *(f"{mean:.4g}" for mean in means))


def _table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")
