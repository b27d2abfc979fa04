"""Requests that lie in the folder are done by the agent, on its real store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater_agent import events
from headwater_agent.agent_reader import AgentReader
from headwater_agent.compute import Compute
from headwater_agent.folders import make_folders
from headwater_agent.granting import MAX_ROWS, Granting
from headwater_agent.jobs import Jobs
from headwater_agent.pauses import FILE, write_pauses
from headwater_agent.pipeline import Pipeline, carry_out
from headwater_agent.releases import first_version
from headwater_agent.requests import Forget, Reset, Warm, Wish, ask, waiting
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Note, PassingError
from headwater_agent.store_thread import StoreThread
from headwater_models.requested import Answer, await_answer
from tests.agent.test_runtime import learns_all

MINUTE = 60_000
START = 1_700_000_040_000
BUNDLE = learns_all()


class Home:
    """An agent without a broker: what is asked for is done by hand."""

    def __init__(self, folder: Path) -> None:
        BUNDLE.save(folder / "bundle")
        (folder / "agent.toml").write_text(
            'device = "pi-1"\nbundle = "bundle"\ntrust.allow_unsigned = true\n'
            'input.pattern = "tank/{stream}"\nlearn.batch = 2\nguard.enabled = false\n'
        )
        self.settings: AgentSettings = load_settings(folder / "agent.toml", {})
        make_folders(self.settings)
        manifest = BUNDLE.manifest
        self.pipeline = Pipeline(manifest, first_version(BUNDLE), self.settings.pipeline(manifest))
        self.store = SqliteStore(self.settings.agent_db, manifest, self.settings.store)
        self.writer = StoreThread(self.store, every_s=0.01, records=1, wake=lambda: None)
        self.compute = Compute(BUNDLE)
        self.jobs = Jobs(
            self.settings,
            folder / "agent.toml",
            manifest=manifest,
            begin=lambda *_: 1,
            refined=lambda _: None,
        )
        self.run(self.pipeline.restore(self.store.load()))
        self.granting = self.grants()

    def grants(self) -> Granting:
        return Granting(
            self.settings,
            BUNDLE.manifest,
            pipeline=self.pipeline,
            store=self.store,
            writer=self.writer,
            compute=self.compute,
            jobs=self.jobs,
            do_all=self.run,
        )

    def run(self, effects: Iterable[events.Effect]) -> None:
        carry_out(self.pipeline, effects, self._do)

    def receive(self, *minutes: int, stream: str = "north") -> None:
        records = tuple(
            events.Record(stream, START + m * MINUTE, row(m), np.ones(2, np.bool_)) for m in minutes
        )
        self.run(self.pipeline.feed(events.Arrived(records)))

    def ask(self, wish: Wish) -> Answer:
        path = ask(self.settings.requests, wish)
        self.granting.look()
        said = await_answer(path, lambda: False)
        assert said is not None
        return said

    def read(self) -> AgentReader:
        return AgentReader(self.settings.agent_db, BUNDLE.manifest)

    def kinds(self) -> Sequence[str]:
        self.writer.flush()
        with closing(self.read()) as reader:
            return [note.kind for note in reader.notes(20)][::-1]

    def close(self) -> None:
        self.writer.close()
        self.store.close()

    def _do(self, effect: events.Effect) -> events.Event | None:
        match effect:
            case events.Infer():
                return self.compute.infer(effect)
            case events.Train():
                return self.compute.train(effect)
            case events.Store() | events.Checkpoint():
                self.writer.put(effect)
            case events.Happened(kind, detail):
                self.writer.put(Note(0, kind, detail))
        return None


def row(minute: int) -> events.Floats:
    return np.array([1 + minute % 5 / 10, 0], np.float32)


def history(first: int, last: int, stream: str = "north") -> Warm:
    minutes = np.arange(first, last)
    values = np.stack([row(minute) for minute in minutes.tolist()])
    return Warm.of(
        stream, START + minutes * MINUTE, values, np.full(len(minutes), np.nan, np.float32)
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.close()


def test_forgetting_deletes_the_examples_and_what_has_not_left(home: Home) -> None:
    home.receive(*range(12))
    assert home.pipeline.learner.steps > 0
    outcome = home.settings.share / f"{'0' * 64}.update"
    outcome.write_bytes(b"of what was learned")
    assert home.ask(Forget()).done
    assert not outcome.exists()
    with closing(home.read()) as reader:
        assert len(reader.examples(reserved=False, newest=100).time) == 0
        assert reader.load().examples == []
        assert [one["rows"] for one in reader.streams()] == [12]
    home.receive(*range(12, 20))
    home.writer.flush()
    with closing(home.read()) as reader:
        times = reader.examples(reserved=False, newest=100).time
    assert (times >= START + 12 * MINUTE).all()
    assert len(times) == 6
    assert "forgotten" in home.kinds()


def test_a_reset_deletes_the_examples_of_its_stream_alone(home: Home) -> None:
    home.receive(*range(8))
    home.receive(*range(8), stream="south")
    said = home.ask(Reset("north"))
    assert said == Answer(True, "Stream north begins anew at 2023-11-14 22:22:00Z.")
    with closing(home.read()) as reader:
        counts = {one["name"]: (one["rows"], one["examples"]) for one in reader.streams()}
    assert counts == {"north": (8, 0), "south": (8, 4)}


def test_there_is_no_reset_of_a_stream_that_is_not_there(home: Home) -> None:
    assert home.ask(Reset("nowhere")) == Answer(False, "There is no stream nowhere.")


def test_history_before_the_first_row_is_taken_and_stored(home: Home) -> None:
    home.receive(20, 21)
    said = home.ask(history(10, 25))
    assert said.done
    assert said.text == (
        "north: took 10 records from 2023-11-14 22:24:00Z to 2023-11-14 22:33:00Z, left 5 that do "
        "not lie before its first row or are before a reset."
    )
    with closing(home.read()) as reader:
        slots, _ = reader.rows_of("north", 0, 2**40)
    assert (slots - START // MINUTE).tolist() == list(range(10, 22))
    home.receive(22)
    home.writer.flush()
    with closing(home.read()) as reader:
        assert len(reader.load().waiting) == 1
    assert "warmed" in home.kinds()


def test_a_stream_that_was_never_heard_of_takes_all_of_its_history(home: Home) -> None:
    assert home.ask(history(0, 5, "east")).text.startswith("east: took 5 records")


def test_history_that_is_not_over_yet_is_left(home: Home) -> None:
    far = history(10**7, 10**7 + 5)
    assert not home.ask(far).done
    assert home.pipeline.streams.records == 0


def test_what_was_before_a_reset_is_left(home: Home) -> None:
    home.receive(*range(8))
    home.ask(Reset("north"))
    home.receive(20)
    assert not home.ask(history(0, 8)).done
    assert home.ask(history(0, 20)).text.startswith("north: took 12 records")


def test_a_stream_with_many_rows_learns_little_of_its_history(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_ROWS >= 10_000
    monkeypatch.setattr("headwater_agent.granting.MAX_ROWS", 5)
    home.receive(*range(20, 26))
    assert "6 rows already" in home.ask(history(0, 20)).text


def test_a_history_of_another_model_is_refused(home: Home) -> None:
    wrong = msgspec.structs.replace(history(0, 5), values=b"\0" * 12)
    assert "is damaged" in home.ask(wrong).text


def test_requests_are_done_in_order_and_one_that_is_unreadable_stops_none(home: Home) -> None:
    home.receive(*range(8))
    broken = home.settings.requests / "000000001-x.request"
    broken.write_bytes(b"\xff")
    later = ask(home.settings.requests, Reset("north"))
    home.granting.look()
    assert waiting(home.settings.requests) == []
    assert await_answer(broken, lambda: False) == Answer(
        False, "The request cannot be read; ask again."
    )
    said = await_answer(later, lambda: False)
    assert said is not None
    assert said.done


def test_while_nothing_can_be_stored_a_request_waits(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.receive(*range(8))

    def full() -> None:
        raise PassingError("The disk is full.")

    path = ask(home.settings.requests, Forget())
    with monkeypatch.context() as patched:
        patched.setattr(home.writer, "flush", full)
        home.granting.look()
        assert waiting(home.settings.requests) == [path]
        assert home.pipeline.learner.steps == 2
    home.granting.look()
    assert waiting(home.settings.requests) == []


def test_pauses_are_obeyed_and_survive_a_restart(home: Home) -> None:
    write_pauses(home.settings.share, ("learning", "federation"))
    home.granting.look()
    assert (home.pipeline.learner.paused, home.jobs.paused) == (True, True)
    home.receive(*range(12))
    assert home.pipeline.learner.steps == 0
    assert home.kinds() == ["paused", "paused"]
    home.pipeline.learner.paused = home.jobs.paused = False
    home.grants().look_at_pauses()
    assert (home.pipeline.learner.paused, home.jobs.paused) == (True, True)
    write_pauses(home.settings.share, ("learning",))
    home.granting.look()
    assert (home.pipeline.learner.paused, home.jobs.paused) == (True, False)
    (home.settings.share / FILE).unlink()
    home.granting.look()
    assert not home.pipeline.learner.paused
