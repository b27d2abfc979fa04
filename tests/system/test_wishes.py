"""An owner pauses, forgets, replaces a sensor, warms a stream and misses one, while all runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from headwater.settings import Duration
from headwater_agent.agent_reader import AgentReader
from headwater_agent.settings import AgentSettings
from headwater_agent.status import read_status
from headwater_models.bundle import Bundle
from headwater_models.manifest import Grid
from tests.agent.test_runtime import (
    MINUTE,
    START,
    Person,
    agent,
    end,
    learns_all,
    person,
    prepare,
    until,
)

__all__ = ["person"]

BUNDLE = learns_all()
LEARN = "[learn]\nbatch = 2\n[guard]\nenabled = false\n"


def command(folder: Path, *arguments: str, code: int = 0) -> str:
    """Type a command of the agent's; return what it says."""
    where = ["--settings", str(folder / "agent.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "agent", *arguments, *where],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def steps(settings: AgentSettings) -> Callable[[], int]:
    return lambda: json.loads(settings.live.read_bytes())["steps"] if settings.live.exists() else 0


def examples(settings: AgentSettings) -> list[int]:
    """The minutes of the stored examples."""
    with closing(AgentReader(settings.agent_db, BUNDLE.manifest)) as reader:
        times = reader.examples(reserved=False, newest=100).time
    return [(time - START) // MINUTE for time in times.tolist()]


def test_a_pause_holds_until_it_is_resumed_through_a_restart(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=BUNDLE, more=LEARN)
    with agent(tmp_path) as process:
        person.next("status")
        assert command(tmp_path, "pause", "learning") == "Paused: learning.\n"
        until(lambda: paused(settings))
        for minute in range(10):
            person.measure(minute, 100 + minute)
        for _ in range(8):
            assert person.next("prediction")["quality"] == "ok"
        end(process)
    status = read_status(settings, BUNDLE.manifest)
    assert (status.paused, status.aside.windows, examples(settings)) == (("learning",), 6, [])
    with agent(tmp_path) as process:
        person.next("status")
        person.measure(10, 110)
        person.next("prediction")
        assert steps(settings)() == 0
        assert command(tmp_path, "resume") == "Paused: nothing.\n"
        until(lambda: [n for n in kinds(settings) if n == "resumed"] != [])
        for minute in range(11, 18):
            person.measure(minute, 100 + minute)
        until(lambda: steps(settings)() > 0)
        end(process)
    assert examples(settings) == list(range(11, 16))


def paused(settings: AgentSettings) -> bool:
    return "paused" in kinds(settings)


def kinds(settings: AgentSettings) -> list[str]:
    with closing(AgentReader(settings.agent_db, BUNDLE.manifest)) as reader:
        return [str(note.kind) for note in reader.notes(20)]


def test_an_owner_may_begin_again_while_the_agent_runs(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=BUNDLE, more=LEARN)
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(12):
            person.measure(minute, 100 + minute % 3)
        until(lambda: steps(settings)() > 0)
        person.measure(12, 100)
        made = [person.next("prediction") for _ in range(11)]
        assert made[-1]["personal"] != made[-1]["released"]
        assert "Forgotten" in command(tmp_path, "forget", "--yes")
        person.measure(13, 100)
        after = person.next("prediction")
        assert after["personal"] == after["released"]
        assert examples(settings) == []
        assert "begins anew" in command(tmp_path, "reset", "north")
        for minute in range(14, 17):
            person.measure(minute, 180)
        assert person.next("prediction")["time"].endswith("22:30:00.000Z")
        assert command(tmp_path, "reset", "south", code=3) == ""
        end(process)


def test_what_was_asked_while_no_agent_ran_is_done_before_the_first_record(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=BUNDLE, more=LEARN)
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(6):
            person.measure(minute, 100 + minute)
        for _ in range(4):
            person.next("prediction")
        end(process)
    assert "the next start does it first" in command(tmp_path, "reset", "north")
    person.measure(6, 180)
    with agent(tmp_path) as process:
        person.measure(7, 180)
        person.measure(8, 180)
        assert person.next("prediction")["time"].endswith("22:22:00.000Z")
        end(process)
    assert examples(settings) == []


def test_a_warm_stream_predicts_its_first_record(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=BUNDLE, more=LEARN)
    past = "".join(f"{START + minute * MINUTE},{1 + minute % 3},0\n" for minute in range(-50, 0))
    (tmp_path / "past.csv").write_text(f"time,level,rain\n{past}")
    file = str(tmp_path / "past.csv")
    with agent(tmp_path) as process:
        person.next("status")
        assert "took 50 records" in command(tmp_path, "warm", file, "--stream", "north")
        person.measure(0, 100)
        assert person.next("prediction")["time"] == "2023-11-14T22:14:00.000Z"
        assert command(tmp_path, "warm", file, "--stream", "north", code=5).count("took") == 0
        end(process)
    assert [stream.rows for stream in read_status(settings, BUNDLE.manifest).streams] == [51]


SILENCE = '[streams]\nsilent_after = "2s"\n'


def test_a_silent_stream_is_missed_once_and_welcomed_back(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=BUNDLE, more=SILENCE)
    with agent(tmp_path) as process:
        person.next("status")
        for minute in range(3):
            person.measure(minute, 100)
        assert person.next("prediction")["stream"] == "north"
        alarm = person.next("alarm")
        assert (alarm["stream"], alarm["about"], alarm["unit"]) == ("north", "silence", "s")
        assert alarm["value"] >= 2
        assert (alarm["before"], alarm["time"]) == (0, "2023-11-14T22:16:00.000Z")
        until(lambda: read_status(settings, BUNDLE.manifest).streams[0].silent)
        assert "silent" in command(tmp_path, "status")
        person.measure(3, 100)
        assert person.next("alarm")["value"] == 0
        until(lambda: not read_status(settings, BUNDLE.manifest).streams[0].silent)
        log = end(process)
    assert log.count("stream north is silent for") == 1
    assert log.count("stream north speaks again") == 1
    assert json.loads(settings.live.read_bytes())["predictions"] == 2, "one for each whole window"
    assert "heard" in kinds(settings)


CLOCKLESS = """
from headwater_agent import process, synchronised
synchronised.Clock.complaint = lambda clock: {complaint!r}
from headwater.cli import main
main()
"""


def test_by_a_clock_that_is_not_set_records_without_a_time_are_not_learned_from(
    tmp_path: Path, mosquitto: int, person: Person
) -> None:
    settings = prepare(tmp_path, mosquitto, bundle=second_by_second(), more=LEARN)
    text = (tmp_path / "agent.toml").read_text()
    (tmp_path / "agent.toml").write_text(text.replace(TIME, ""))
    assert TIME in text
    for complaint, learned in (("not set", False), (None, True)):
        code = CLOCKLESS.format(complaint=complaint)
        where = ["agent", "run", "--settings", str(tmp_path / "agent.toml")]
        with subprocess.Popen(
            [sys.executable, "-c", code, *where], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                person.next("status")
                for n in range(12):
                    person.measure(n, 100 + n)
                    time.sleep(0.25)
                person.next("prediction")
                live = json.loads(settings.live.read_bytes())
                end(process)
            finally:
                process.kill()
        assert live["clock"] == (complaint or "")
        told = [m["quality"] for t, m in list(person.heard.queue) if t.endswith("prediction")]
        person.heard.queue.clear()
        assert ("ok" in told) == learned
        with closing(AgentReader(settings.agent_db, second_by_second().manifest)) as reader:
            found = len(reader.examples(reserved=False, newest=100).time)
            held = len(reader.held())
        assert (found > 0) == learned
        assert held > 0


TIME = 'time = { field = "at", format = "ms" }\n'


def second_by_second() -> Bundle:
    """A model with a row for a quarter of a second, for records without a time."""
    quick = Grid(period=Duration(250), max_gap=Duration(60_000))
    return learns_all(grid=quick, horizon=Duration(500))
