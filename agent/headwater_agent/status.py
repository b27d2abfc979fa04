"""What an owner wants to know of an agent, read from its files without disturbing it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.errors import HeadwaterError
from headwater.wire import CheckedIn
from headwater_agent.agent_reader import AgentReader
from headwater_agent.correspondence import CONNECTION, Refusal
from headwater_agent.events import Alarm, Floats
from headwater_agent.exchange import ExchangeReader
from headwater_agent.learner import SavedLearning, read_checkpoint
from headwater_agent.live import LiveReport, read_ranks
from headwater_agent.pauses import read_pauses
from headwater_agent.ranking import Rank
from headwater_agent.scores import Score
from headwater_agent.served import Served
from headwater_agent.settings import AgentSettings
from headwater_agent.standing import Standing, read_standing
from headwater_models.judging import errors
from headwater_models.manifest import Manifest

SCORED = 10_000
"""Newest scored predictions that the errors are taken over."""

T = TypeVar("T", bound=msgspec.Struct)


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Mean error over the newest scored predictions that all of them made.

    Absolute error in the target's unit, or the share of wrong classes.
    """

    scored: int
    baseline: float
    released: float
    personal: float
    served: float


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one stream; ``until_ms`` is the time of its newest row.

    ``errors`` are means over all its labels so far.
    """

    name: str
    rows: int
    examples: int
    until_ms: int | None
    errors: Errors | None
    silent: bool = False
    """Whether the running agent has not heard of it for longer than is usual."""


class ServedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Which model is published.

    ``excess`` is what serving the personal model is known to have cost above the release at most,
    and ``bound`` what it may cost, both in the unit of the errors.
    """

    serving: str
    excess: float
    bound: float


class AsideStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard keeps aside: values by their reason, and the windows held back for them."""

    values: dict[str, int]
    windows: int


class SyncStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What went between this device and the coordinator; None where nothing did yet."""

    version: str | None
    received_ms: int | None
    sent_ms: int | None
    answers: int
    bytes_sent: int
    waiting: Refusal | None = None
    """Why the federation client may not run at present."""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """A start, release or refusal."""

    time_ms: int
    kind: str
    detail: str


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture; ``live`` is there only while the agent runs."""

    device: str
    running: bool
    version: str
    sequence: int
    records: int
    errors: Errors | None
    served: ServedStatus | None
    streams: tuple[StreamStatus, ...]
    aside: AsideStatus
    outbox: int
    """Messages of the agent that the broker has not acknowledged."""

    paused: tuple[str, ...]
    """What the owner paused."""

    counters: dict[str, int]
    live: LiveReport | None
    sync: SyncStatus | None
    happened: tuple[Happened, ...]
    alarms: tuple[Alarm, ...]
    beside: tuple[Rank, ...] = ()
    """How well the models beside the first do, the best first."""


def read_status(settings: AgentSettings, manifest: Manifest) -> AgentStatus:
    """Read the status of an agent, running or not.

    Raises
    ------
    StorageError
        When no agent ever ran here, or its database cannot be read.
    """
    reader = AgentReader(settings.agent_db, manifest)
    try:
        labels, made, newest = reader.scored(SCORED)
        standing = read_standing(reader.standing())
        checkpoint = reader.checkpoint()
        streams = reader.streams()
        values, windows = reader.count_aside()
        outbox = reader.count_outbox()
        counters = reader.counters()
        notes = reader.notes(10)
        alarms = reader.alarms(10)
    finally:
        reader.close()
    if checkpoint is not None:
        standing = _newer(standing, read_checkpoint(checkpoint))
    checked_in, live = read_report(settings)
    ranks = read_ranks(settings.beside_ranks)
    period = int(manifest.grid.period)
    silent = set(live.silent) if live is not None else set()
    return AgentStatus(
        device=settings.device,
        running=is_running(settings),
        version=checked_in.version if checked_in else newest,
        sequence=checked_in.sequence if checked_in else 0,
        records=checked_in.records if checked_in else 0,
        errors=mean_errors(manifest, labels, made),
        served=_served(standing.served) if standing.served is not None else None,
        streams=tuple(
            StreamStatus(
                name=row["name"],
                rows=row["rows"],
                examples=row["examples"],
                until_ms=None if row["newest"] is None else row["newest"] * period,
                errors=_errors_of(standing.streams.get(row["name"])),
                silent=row["name"] in silent,
            )
            for row in streams
        ),
        aside=AsideStatus(values=values, windows=windows),
        outbox=outbox,
        paused=read_pauses(settings.share),
        counters=counters,
        live=live,
        sync=read_sync(settings),
        happened=tuple(
            Happened(time_ms=note.time, kind=note.kind, detail=note.detail) for note in notes
        ),
        alarms=tuple(alarms),
        beside=tuple(sorted(ranks, key=lambda rank: (not rank.labels, rank.recent))),
    )


def mean_errors(manifest: Manifest, labels: NDArray[np.float64], made: Floats) -> Errors | None:
    """Return the mean error of baseline, released, personal and served.

    Parameters
    ----------
    manifest
        The task decides what an error is.
    labels
        float64 ``[N]``.
    made
        float32 ``[N, 4, K]``: predictions of baseline, released, personal and served.

    Returns
    -------
    Errors or None
        None where nothing was scored, and of anomalies, whose error depends on the threshold of
        the moment; see the errors of the streams. A row that one of them could not predict
        counts for none.
    """
    known = np.isfinite(made).all(axis=(1, 2))
    if manifest.task == "anomaly" or not known.any():
        return None
    truth = labels[known, None].astype(np.float32)
    baseline, released, personal, served = (
        float(errors(manifest, made[known, i], truth).mean()) for i in range(4)
    )
    return Errors(
        scored=int(known.sum()),
        baseline=baseline,
        released=released,
        personal=personal,
        served=served,
    )


def read_report(settings: AgentSettings) -> tuple[CheckedIn | None, LiveReport | None]:
    """Read what an agent last said of itself; the second only while it runs."""
    live = _decoded(settings.live, LiveReport) if is_running(settings) else None
    return _decoded(settings.share / "status.json", CheckedIn), live


def is_running(settings: AgentSettings) -> bool:
    """Say whether an agent holds this state folder."""
    try:
        with settings.agent_db.with_suffix(".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _newer(standing: Standing, learned: SavedLearning) -> Standing:
    """Return what was stored with the labels, and what an older program has in the checkpoint."""
    return Standing(
        served=standing.served or learned.served,
        score=standing.score or learned.score,
        streams=learned.streams | standing.streams,
    )


def _served(served: Served) -> ServedStatus:
    account = served.account
    return ServedStatus(serving=served.serving, excess=account.excess, bound=account.bound)


def _errors_of(score: Score | None) -> Errors | None:
    if score is None or not score.labels:
        return None
    return Errors(
        scored=score.labels,
        baseline=score.baseline,
        released=score.released,
        personal=score.personal,
        served=score.served,
    )


def read_sync(settings: AgentSettings) -> SyncStatus | None:
    """Read the federation client's side; None where there is none or it is not ours to read."""
    try:
        reader = ExchangeReader(settings.exchange_db)
        newest, waiting = reader.newest(), reader.refusal()
        totals = [one for one in reader.totals() if one.kind != CONNECTION]
        sent_ms = reader.sent_ms()
    except (HeadwaterError, OSError):
        return None
    return SyncStatus(
        version=newest.version if newest else None,
        received_ms=newest.received_ms if newest else None,
        sent_ms=sent_ms,
        answers=sum(one.count for one in totals),
        bytes_sent=sum(one.bytes for one in totals),
        waiting=waiting,
    )


def _decoded(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
