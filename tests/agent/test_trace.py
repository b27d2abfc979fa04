"""A record is followed from its row to the release that came of it, as far as it is stored."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import StorageError
from headwater_agent import events
from headwater_agent.correspondence import StoredVersion
from headwater_agent.exchange import Exchange
from headwater_agent.pipeline import Pipeline
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.releases import first_version
from headwater_agent.settings import AgentSettings, StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Entry, Update
from headwater_agent.trace import Trace, trace
from tests.agent.federating import NAME, device, settings, task_name, train
from tests.agent.making import prediction
from tests.agent.test_training import MANIFEST, MINUTE, ask, fill
from tests.models.bundles import signed

HASH = "c" * 64


def write(made: AgentSettings, *entries: Entry) -> None:
    with closing(SqliteStore(made.agent_db, MANIFEST, StoreSettings())) as store:
        store.write(entries)


def learned(through: int) -> events.Checkpoint:
    """A checkpoint after some examples."""
    pipeline = Pipeline(MANIFEST, first_version(signed()), PipelineSettings())
    pipeline.learner.learned_through = through
    return pipeline.checkpoint()


def predicted(minute: int, version: str = "v1") -> events.Prediction:
    made = prediction(minute, "s", 4.0)
    return msgspec.structs.replace(
        made, id=f"{version}-{minute}", time=minute * MINUTE, version=version
    )


def follow(made: AgentSettings, minute: float) -> Trace:
    return trace(made, MANIFEST, "s", round(minute * MINUTE))


@pytest.fixture
def made(tmp_path: Path) -> AgentSettings:
    """A device with examples 1 to 100 of the rows from minute 3 on, and ten reserved ones."""
    found = settings(tmp_path)
    fill(found, learned=100, reserved=10)
    return found


def answer(made: AgentSettings, reply: wire.Reply) -> None:
    task = ask(made, train())
    with closing(Exchange(made.exchange_db)) as exchange:
        exchange.keep(replace(task, reply=wire.encode(reply), outcome=HASH), None)
        exchange.settle(task.task, "answered", 7_000)


def come(
    made: AgentSettings, sequence: int, merged: int, kind: Literal["release", "candidate"]
) -> None:
    with closing(Exchange(made.exchange_db)) as exchange:
        version = StoredVersion(f"{sequence:064x}", kind, sequence, "{}", merged, 9_000)
        exchange.keep(replace(ask(made, train(sequence), sequence)), version)


def update() -> wire.Update:
    return wire.Update(
        task=task_name(1),
        device=NAME,
        model=device().trusted.model,
        base=device().current.version,
        sequence=1,
        examples=60,
        loss_before=1.0,
        loss_after=0.5,
        data_until_ms=0,
    )


def test_a_record_is_followed_to_the_release_that_came_of_it(made: AgentSettings) -> None:
    write(
        made,
        events.Store(predictions=(predicted(50, "v1"), predicted(50, "v2"), predicted(51))),
        events.Store(scores=(events.Score("v2-50", 2.5),)),
        Update(1, task_name(1), "base", 60, 5_000),
        Update(2, task_name(2), "base", 80, 6_000),
        learned(90),
    )
    answer(made, update())
    come(made, 3, merged=0, kind="release")
    come(made, 4, merged=1, kind="candidate")
    come(made, 5, merged=1, kind="release")
    come(made, 6, merged=2, kind="release")
    found = follow(made, 50.4)
    assert found.time_ms == 50 * MINUTE
    assert found.row == {"level": 1.0, "rain": 1.0}
    assert [(one.version, one.label) for one in found.predictions] == [("v1", None), ("v2", 2.5)]
    assert (found.predictions[0].released, found.predictions[0].personal) == ([4.0], [5.0])
    assert (found.example.fate, found.example.sequence, found.example.label) == ("learned", 48, 2)
    assert found.update is not None
    assert (found.update.sequence, found.update.taken_ms) == (1, 5_000)
    assert (found.update.answer, found.update.answered_ms) == ("update", 7_000)
    assert found.release is not None
    assert (found.release.sequence, found.release.received_ms) == (5, 9_000)


@pytest.mark.parametrize(
    ("minute", "fate", "sequence"),
    [(50, "learned", 48), (95, "waits", 93), (105, "reserved", 103), (1, "none", 0)],
)
def test_what_a_window_is_to_the_learner(
    made: AgentSettings, minute: int, fate: str, sequence: int
) -> None:
    write(made, learned(90), Update(1, task_name(1), "base", 200, 0))
    found = follow(made, minute)
    assert (found.example.fate, found.example.sequence) == (fate, sequence)
    assert (found.update is None) == (fate != "learned")
    assert found.release is None


def test_what_the_guard_keeps_aside_is_told(made: AgentSettings) -> None:
    missing = events.Row("s", 200, np.array([np.nan, 1], np.float32), np.ones(2, np.bool_))
    held = events.Held("s", 200 * MINUTE, 2.5, reserved=False)
    mark = events.Mark("s", 200 * MINUTE + 5, 0, 99.0, "spike")
    write(made, events.Store(rows=(missing,), held=(held,), marks=(mark,)))
    found = follow(made, 200)
    assert found.row == {"level": None, "rain": 1.0}
    assert found.aside == (mark,)
    assert (found.example.fate, found.example.label) == ("held back", 2.5)


def test_a_replay_takes_the_newest_of_the_buffer_alone(made: AgentSettings) -> None:
    write(made, learned(90), Update(1, task_name(1), "base", 60, 0))
    learn = msgspec.structs.replace(made.learn, buffer=13)
    small = msgspec.structs.replace(made, learn=learn)
    assert follow(small, 50).update is not None
    assert follow(small, 49).update is None
    stream = msgspec.structs.replace(small, learn=msgspec.structs.replace(learn, training="stream"))
    assert follow(stream, 49).update is not None


def test_an_update_that_is_not_answered_or_was_declined_says_so(made: AgentSettings) -> None:
    write(made, learned(90), Update(1, task_name(1), "base", 60, 0))
    found = follow(made, 50).update
    assert found is not None
    assert (found.answer, found.answered_ms) == ("", None)
    answer(made, wire.Declined(device=NAME, task=task_name(1), reason="failed"))
    found = follow(made, 50).update
    assert found is not None
    assert found.answer == "declined"


def test_an_update_that_was_declined_is_in_no_release(made: AgentSettings) -> None:
    write(made, learned(90), Update(1, task_name(1), "base", 60, 0))
    answer(made, wire.Declined(device=NAME, task=task_name(1), reason="failed"))
    come(made, 5, merged=2, kind="release")
    assert follow(made, 50).release is None


def test_a_stream_that_is_not_there_is_said_with_those_that_are(made: AgentSettings) -> None:
    with pytest.raises(StorageError, match="no stream 'r'; there is s"):
        trace(made, MANIFEST, "r", 0)


def test_of_a_time_without_a_record_nothing_is_known(made: AgentSettings) -> None:
    found = follow(made, 10_000)
    assert (found.row, found.predictions, found.example.fate) == ({}, (), "none")


def test_nothing_is_written(made: AgentSettings) -> None:
    write(made, learned(90))
    before = made.agent_db.read_bytes()
    follow(made, 50)
    assert made.agent_db.read_bytes() == before
    assert not made.exchange_db.exists()
