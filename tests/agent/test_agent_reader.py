from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from headwater.errors import StorageError
from headwater_agent import agent_reader, events
from headwater_agent.agent_reader import AgentReader
from headwater_agent.settings import StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from tests.agent.making import example, prediction, rows, small_manifest


def open_store(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "agent.db", small_manifest(), StoreSettings())


def test_a_reader_sees_what_the_running_agent_committed_and_cannot_write(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    reader = AgentReader(tmp_path / "agent.db", small_manifest())
    store.write([rows(range(6)), events.Store(examples=(example(1, 4),))])
    assert reader.examples(reserved=False, newest=1).window.shape == (1, 3, 2)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM segments")
    reader.close()
    store.close()


def test_reading_where_no_agent_ever_ran_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="start the agent once"):
        AgentReader(tmp_path / "agent.db", small_manifest())


def test_rows_of_another_model_are_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write([rows(range(3))])
    other = msgspec.structs.replace(small_manifest(), channels=small_manifest().channels[:1])
    reader = AgentReader(tmp_path / "agent.db", other)
    with pytest.raises(StorageError, match="rows of another model"):
        reader.load()
    reader.close()
    store.close()


def test_status_reads_streams_and_scored_predictions(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = tuple(prediction(slot, value=float(slot)) for slot in (3, 4, 5))
    made = (msgspec.structs.replace(made[0], served="personal"), *made[1:])
    scores = (events.Score("s-3", 1.0), events.Score("s-4", 2.0))
    store.write([rows(range(6)), events.Store(predictions=made, scores=scores)])
    labels, found, version = store.scored(newest=10)
    assert labels.tolist() == [2.0, 1.0]
    assert found[:, :, 0].tolist() == [[6.0, 4.0, 5.0, 4.0], [5.0, 3.0, 4.0, 4.0]]
    assert version == "v1"
    assert store.streams() == [{"name": "s", "rows": 6, "examples": 0, "newest": 5}]
    store.close()


def test_past_rows_are_the_newest_of_each_stream_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.write([rows(range(6)), rows(range(3, 9), "t")])
    past = store.past_rows(2)
    assert [(r.stream, r.slot) for r in past] == [("s", 4), ("s", 5), ("t", 7), ("t", 8)]
    monkeypatch.setattr(agent_reader, "PAST_ROWS", 2)
    assert [r.slot for r in store.past_rows(5)] == [5, 8]
    store.close()


def test_a_folder_whose_name_means_something_in_a_uri_is_read(tmp_path: Path) -> None:
    store = open_store(tmp_path / "50%#a?mode=memory")
    store.write([rows([1])])
    reader = AgentReader(tmp_path / "50%#a?mode=memory" / "agent.db", small_manifest())
    assert [r.slot for r in reader.load().rows] == [1]
    reader.close()
    store.close()
