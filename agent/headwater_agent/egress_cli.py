"""``headwater agent egress``: the ledger of what left the device."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from headwater.errors import LedgerError, StorageError
from headwater_agent.correspondence import CONNECTION
from headwater_agent.egress_report import EgressReport, Verdict, parse_head, read_report
from headwater_agent.exchange import ExchangeReader
from headwater_agent.settings import load_settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def egress(
    settings_file: Annotated[
        Path, typer.Option("--settings", envvar="HEADWATER_AGENT", help="The agent's settings.")
    ] = Path("agent.toml"),
    days: Annotated[int, typer.Option(min=1, help="Newest days that are shown.")] = 1,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check the chain, and compare the coordinator's receipts."),
    ] = False,
    head: Annotated[
        str, typer.Option(help="A head that you noted, NUMBER:HASH; checked with --verify.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what left for the coordinator: when, what, how much, to whom.

    With --verify it ends with exit code 10 where the ledger was changed, or the coordinator
    received what is not in it.
    """
    settings = load_settings(settings_file, os.environ)
    if not os.access(settings.exchange, os.R_OK | os.X_OK):
        raise StorageError(
            f"{settings.exchange} is missing or not yours to read; run this as the federation "
            "client's user or one of its group."
        )
    try:
        noted = parse_head(head) if head else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--head") from error
    report = read_report(
        ExchangeReader(settings.exchange_db), days, verify=verify or noted is not None, head=noted
    )
    if as_json:
        typer.echo(msgspec.json.encode(report))
    else:
        show(report, Console())
    if report.verdict is not None and report.verdict.complaints:
        raise LedgerError("\n".join(report.verdict.complaints))


def show(report: EgressReport, console: Console) -> None:
    """Print a report."""
    if report.head is None:
        console.print("Nothing has left this device.")
        return
    entries = _table("entry", "time", "what", "arrays", "bytes", "to")
    for entry in report.entries:
        line = entry.line
        about = line.kind == CONNECTION
        what = f"{line.requests:,} requests" if about else line.kind
        cells = (", ".join(line.arrays), f"{line.bytes:,}", line.peer)
        entries.add_row(str(entry.number), _when(line.time_ms), what, *cells)
    totals = _table("day", "answers", "bytes", "requests", "bytes with HTTP", "")
    for day in report.days:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in day.kinds.items())
        counts = (day.answers, day.answer_bytes, day.requests, day.request_bytes)
        totals.add_row(day.day, *(f"{count:,}" for count in counts), kinds)
    console.print(entries)
    console.print(totals)
    console.print(f"head {report.head.number}:{report.head.hash}", soft_wrap=True)
    if report.verdict is not None:
        _show_verdict(report.verdict, console)


def _show_verdict(verdict: Verdict, console: Console) -> None:
    if not verdict.complaints:
        console.print(f"The chain is whole: {verdict.entries:,} entries and what was folded.")
    console.print(
        f"{verdict.confirmed:,} answers are confirmed by receipts, {verdict.waiting:,} newer ones "
        "wait for theirs."
    )
    if verdict.unconfirmed:
        numbers = ", ".join(map(str, verdict.unconfirmed[-10:]))
        console.print(
            f"{len(verdict.unconfirmed):,} older ones have none, the last {numbers}: lost on the "
            "way, or not wanted any more."
        )


def _when(time_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=time_ms)).strftime("%Y-%m-%d %H:%M:%SZ")


def _table(*names: str) -> Table:
    return Table(*names, box=None, pad_edge=False, header_style="bold")
