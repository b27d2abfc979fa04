from __future__ import annotations

import io

import msgspec
from rich.console import Console

from headwater_agent.correspondence import Refusal
from headwater_agent.events import Alarm
from headwater_agent.live import LiveReport
from headwater_agent.ranking import Rank
from headwater_agent.status import (
    AgentStatus,
    AsideStatus,
    Errors,
    Happened,
    ServedStatus,
    StreamStatus,
    SyncStatus,
)
from headwater_agent.status_view import SHOWN, show
from tests.agent.making import small_manifest

STOPPED = AgentStatus(
    device="d1",
    running=False,
    version="",
    sequence=0,
    records=0,
    errors=None,
    served=None,
    streams=(),
    aside=AsideStatus(values={}, windows=0),
    outbox=0,
    paused=(),
    counters={},
    live=None,
    sync=None,
    happened=(),
    alarms=(),
)


def shown(status: AgentStatus, task: str = "forecast") -> str:
    out = io.StringIO()
    manifest = msgspec.structs.replace(small_manifest(), task=task)
    show(status, manifest, Console(file=out, width=120))
    return out.getvalue()


def test_an_agent_that_has_done_nothing_is_shown() -> None:
    text = shown(STOPPED)
    assert "d1, not running" in text
    assert "none yet, sequence 0" in text
    assert "no prediction has met its label yet" in text
    assert "kept aside" not in text
    assert "outbox" not in text


def test_alarms_are_shown_with_what_changed() -> None:
    alarms = (
        Alarm("roof", 9_000, "adwin", "", 2.5, 1.0),
        Alarm("roof", 5_000, "kswin", "rain", 0.25, 0.5),
    )
    text = shown(msgspec.structs.replace(STOPPED, alarms=alarms))
    error, rain = (line for line in text.splitlines() if "roof" in line)
    assert "1970-01-01 00:00:09Z" in error
    assert error.split()[-4:] == ["error", "adwin", "2.5", "1"]
    assert rain.split()[-4:] == ["rain", "kswin", "0.25", "0.5"]


def test_a_running_agent_is_shown_with_everything() -> None:
    live = LiveReport(
        connected=False,
        trouble="nothing listens there",
        records_per_s=12.0,
        latency_p50_ms=1.5,
        latency_p99_ms=9.25,
        latency_counts=(3,),
        latency_sum_s=0.0045,
        predictions=3,
        refused={},
        marked={},
        steps=0,
        errors={},
        serves_personal=False,
    )
    text = shown(
        msgspec.structs.replace(
            STOPPED,
            running=True,
            version="b" * 64,
            sequence=7,
            records=1234,
            errors=Errors(scored=2, baseline=3.0, released=1.0, personal=2.0, served=1.5),
            streams=(
                StreamStatus(
                    name="roof",
                    rows=6,
                    examples=5,
                    until_ms=5_000,
                    errors=Errors(
                        scored=17, baseline=0.75, released=0.5, personal=0.25, served=0.375
                    ),
                ),
                StreamStatus(name="new", rows=0, examples=0, until_ms=None, errors=None),
            ),
            served=ServedStatus(serving="personal", excess=1.5, bound=100.0),
            aside=AsideStatus(values={"mixed": 1300, "spike": 4}, windows=21),
            outbox=1_234,
            counters={"refused-late": 4},
            live=live,
            sync=SyncStatus(version="b", received_ms=0, sent_ms=9_000, answers=2, bytes_sent=4096),
            happened=(Happened(time_ms=1_000, kind="release", detail="v2"),),
        )
    )
    for said in (
        "d1, running",
        "bbbbbbbbbbbb, sequence 7",
        "nothing listens there",
        "12.0 records/s",
        "1.50 ms median, 9.25 ms p99",
        "1,234",
        "MAE 3 baseline, 1 released, 2 personal, 1.5 served, over 2 predictions",
        "1970-01-01 00:00:05Z",
        "personal, excess 1.5 of 100",
        "2 answers, 4,096 bytes, last 1970-01-01 00:00:09Z",
        "1,300 mixed, 4 spike; 21 windows held back",
        "1,234 messages wait for the broker",
        "refused-late",
        "1970-01-01 00:00:01Z",
    ):
        assert said in text
    (roof,) = (line for line in text.splitlines() if line.startswith("roof"))
    assert roof.split()[-5:] == ["17", "0.75", "0.5", "0.25", "0.375"]


def test_why_the_federation_client_waits_is_shown() -> None:
    sync = SyncStatus(
        version=None,
        received_ms=None,
        sent_ms=None,
        answers=0,
        bytes_sent=0,
        waiting=Refusal(5_000, "on battery"),
    )
    text = shown(msgspec.structs.replace(STOPPED, sync=sync))
    assert "waits since 1970-01-01 00:00:05Z: on battery" in text


def test_a_classifiers_errors_are_called_by_their_name() -> None:
    errors = Errors(scored=2, baseline=0.5, released=0.25, personal=0.0, served=0.25)
    text = shown(msgspec.structs.replace(STOPPED, errors=errors), "classification")
    assert "wrong 0.5 baseline, 0.25 released, 0 personal, 0.25 served" in text


def test_what_is_paused_silent_or_without_a_clock_is_shown() -> None:
    assert "paused" not in shown(STOPPED)
    stream = StreamStatus(name="roof", rows=1, examples=0, until_ms=0, errors=None, silent=True)
    status = msgspec.structs.replace(
        STOPPED, paused=("learning", "federation"), streams=(stream,), live=_live("not set")
    )
    text = shown(status)
    assert "learning and federation" in text
    assert "1970-01-01 00:00:00Z, silent" in text
    assert "records without a time are not learned from: not set" in text
    assert "not learned from" not in shown(msgspec.structs.replace(status, live=_live("")))


def _live(clock: str) -> LiveReport:
    return LiveReport(
        connected=True,
        trouble="",
        records_per_s=0,
        latency_p50_ms=0,
        latency_p99_ms=0,
        latency_counts=(),
        latency_sum_s=0,
        predictions=0,
        refused={},
        marked={},
        steps=0,
        errors={},
        serves_personal=False,
        clock=clock,
    )


def test_the_best_models_beside_the_first_are_shown_and_the_others_counted() -> None:
    ranks = tuple(
        Rank(name=f"rival-{i}", version="v" * 64, labels=5, error=i + 0.5, recent=i + 0.25)
        for i in range(SHOWN + 2)
    )
    text = shown(msgspec.structs.replace(STOPPED, beside=ranks))
    assert "rival-0" in text
    assert "0.25" in text
    assert f"rival-{SHOWN}" not in text
    assert "and 2 more" in text
