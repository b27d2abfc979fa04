from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import StorageError
from headwater_agent import events
from headwater_agent.drift_settings import DriftSettings
from headwater_agent.events import Version
from headwater_agent.learner import new_learner
from headwater_agent.live import Live
from headwater_agent.pipeline_settings import LearnerSettings, ServeSettings
from headwater_agent.scores import Score
from headwater_agent.served import served
from headwater_agent.settings import AgentSettings, Input, StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.standing import encode_own, encode_stream
from headwater_agent.status import (
    AsideStatus,
    Errors,
    ServedStatus,
    is_running,
    mean_errors,
    read_status,
)
from headwater_agent.store import Count, Note, Outbox, Unsent
from headwater_agent.watch import Watch
from tests.agent.making import prediction, rows, small_manifest

ALARM = events.Alarm("s", 5_000, "adwin", "a", 2.5, 1.0)


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    item = Input(pattern="in/{stream}")
    return AgentSettings(device="d1", bundle=tmp_path, state=tmp_path / "state", input=item)


@pytest.fixture
def store(settings: AgentSettings) -> SqliteStore:
    return SqliteStore(settings.agent_db, small_manifest(), StoreSettings())


def fill(store: SqliteStore) -> None:
    made = tuple(prediction(slot, value=float(slot)) for slot in (3, 4))
    scores = (events.Score("s-3", 2.0), events.Score("s-4", 3.0))
    store.write([rows(range(6)), events.Store(predictions=made, scores=scores)])
    held = events.Held("s", 5_000, 0.0, reserved=False)
    store.write([events.Store(marks=(events.Mark("s", 5_000, 0, 9.0, "spike"),), held=(held,))])
    store.write([Outbox(added=(Unsent(1, "out", b"{}", retain=False),))])
    store.write([Count({"refused-late": 4}), Note(1_000, "release", "v2"), events.Warn((ALARM,))])


def test_before_the_first_start_it_says_so(settings: AgentSettings) -> None:
    with pytest.raises(StorageError, match="start the agent once"):
        read_status(settings, small_manifest())


def test_a_stopped_agent_is_read_from_its_database(
    settings: AgentSettings, store: SqliteStore
) -> None:
    fill(store)
    store.close()
    found = read_status(settings, small_manifest())
    assert not found.running
    assert found.live is None
    assert found.version == "v1"
    assert found.errors == Errors(scored=2, baseline=3.0, released=1.0, personal=2.0, served=1.0)
    assert found.counters == {"refused-late": 4}
    assert found.aside == AsideStatus(values={"spike": 1}, windows=1)
    assert found.outbox == 1
    assert [(s.name, s.rows, s.until_ms) for s in found.streams] == [("s", 6, 5_000)]
    assert [(h.time_ms, h.kind, h.detail) for h in found.happened] == [(1_000, "release", "v2")]
    assert found.alarms == (ALARM,)


def test_what_is_served_and_what_the_fleet_gave_a_stream_are_read_from_the_checkpoint(
    settings: AgentSettings, store: SqliteStore
) -> None:
    fill(store)
    version = Version("v1", 1, {"w": np.zeros(2, np.float32)})
    learner = new_learner(small_manifest(), version, LearnerSettings(), ServeSettings(clip=2.0))
    learner.served.account.add(1.5)
    learner.streams["s"] = Score(labels=3, baseline=0.75, released=0.5, personal=0.25, served=0.375)
    watch = Watch(small_manifest(), DriftSettings(enabled=False))
    store.write([learner.checkpoint(watch.save())])
    store.close()
    found = read_status(settings, small_manifest())
    assert found.served == ServedStatus(serving="released", excess=1.5, bound=40.0)
    (stream,) = found.streams
    assert stream.errors == Errors(
        scored=3, baseline=0.75, released=0.5, personal=0.25, served=0.375
    )


def test_what_was_stored_with_the_labels_is_newer_than_the_checkpoint(
    settings: AgentSettings, store: SqliteStore
) -> None:
    fill(store)
    version = Version("v1", 1, {"w": np.zeros(2, np.float32)})
    learner = new_learner(small_manifest(), version, LearnerSettings(), ServeSettings(clip=2.0))
    learner.streams |= {"s": Score(labels=3), "t": Score(labels=2)}
    watch = Watch(small_manifest(), DriftSettings(enabled=False))
    store.write([learner.checkpoint(watch.save()), rows(range(2), "t")])
    learner.served.serving = "personal"
    learner.served.account.add(3.0)
    newer = (encode_own(learner.served, Score()), encode_stream("s", Score(labels=7)))
    store.write([events.Store(standing=newer)])
    store.close()
    found = read_status(settings, small_manifest())
    assert found.served == ServedStatus(serving="personal", excess=3.0, bound=40.0)
    assert {s.name: s.errors and s.errors.scored for s in found.streams} == {"s": 7, "t": 2}


def test_before_the_first_checkpoint_the_account_is_shown_all_the_same(
    settings: AgentSettings, store: SqliteStore
) -> None:
    fill(store)
    store.write([events.Store(standing=(encode_own(served(ServeSettings(), 2.0), Score()),))])
    store.close()
    found = read_status(settings, small_manifest())
    assert found.served == ServedStatus(serving="released", excess=0.0, bound=40.0)


def test_a_running_agent_shows_its_live_figures(
    settings: AgentSettings, store: SqliteStore
) -> None:
    fill(store)
    version = Version("v1", 1, {"w": np.zeros(2, np.float32)})
    learner = new_learner(small_manifest(), version, LearnerSettings(), ServeSettings())
    live = Live().report(0.0, connected=False, trouble="the broker is away", learner=learner)
    (settings.agent_db.parent / "live.json").write_bytes(live)
    settings.share.mkdir()
    message = wire.CheckedIn(
        device="d1", model="a" * 64, version="b" * 64, sequence=7, records=1234, examples=5
    )
    (settings.share / "status.json").write_bytes(wire.encode(message))
    found = read_status(settings, small_manifest())
    assert found.running
    assert (found.version, found.sequence, found.records) == ("b" * 64, 7, 1234)
    assert found.live is not None
    store.close()
    assert not is_running(settings)


def test_looking_does_not_keep_an_agent_from_starting(settings: AgentSettings) -> None:
    for _ in range(3):
        store = SqliteStore(settings.agent_db, small_manifest(), StoreSettings())
        assert is_running(settings)
        store.close()
        assert not is_running(settings)


def test_a_damaged_status_file_is_no_harm(settings: AgentSettings, store: SqliteStore) -> None:
    fill(store)
    store.close()
    settings.share.mkdir()
    (settings.share / "status.json").write_bytes(b"\xff")
    assert read_status(settings, small_manifest()).records == 0


def test_errors_count_only_where_all_predicted() -> None:
    made = np.array([[[1], [2], [3], [3]], [[np.nan], [5], [5], [5]]], np.float32)
    found = mean_errors(small_manifest(), np.array([1.0, 5.0]), made)
    assert found == Errors(scored=1, baseline=0.0, released=1.0, personal=2.0, served=2.0)
    assert mean_errors(small_manifest(), np.array([5.0]), made[1:]) is None


def test_a_classification_counts_wrong_classes() -> None:
    manifest = msgspec.structs.replace(
        small_manifest(), task="classification", classes=("a", "b"), loss="cross_entropy"
    )
    made = np.array([[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.8, 0.2]]], np.float32)
    found = mean_errors(manifest, np.array([1.0]), made)
    assert found == Errors(scored=1, baseline=1.0, released=0.0, personal=0.0, served=1.0)
