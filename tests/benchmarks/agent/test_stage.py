"""On the stage a real program works on real messages, and nothing of it is left behind."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.agent.sides import CannotRunError
from benchmarks.agent.stage import stage

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("mosquitto")]


@pytest.mark.parametrize(("side", "qos"), [("echo", 0), ("echo", 1), ("echo_onnx", 0)])
def test_a_backlog_is_worked_off_and_counted_by_what_comes_out(
    model: Path, side: str, qos: int
) -> None:
    with stage(model) as place, place.side(side, qos) as running:
        running.first_answer(200)
        running.rest()
        spent = running.backlog(300)
        assert (spent.events, spent.lost) == (300, 0)
        assert 0 < spent.cpu_s < running.cpu_s()
        assert spent.wall_s > 0
        live = running.live(300)
        assert (live.events, live.lost) == (300, 0)
        assert live.wall_s > 0


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed")
def test_lines_count_where_a_program_publishes_nothing(model: Path) -> None:
    with stage(model) as place, place.side("mosquitto_sub", 0) as running:
        assert running.first_answer(50) > running.began
        running.rest()
        assert running.backlog(200).events == 200


def test_a_stream_is_traced_and_may_be_interrupted_halfway(model: Path) -> None:
    called: list[int] = []
    with stage(model) as place, place.side("echo", 0) as running:
        running.first_answer(200)
        running.rest()
        trace = running.stream(100, 0.5, halfway=lambda: called.append(1))
        assert len(trace.sent) == len(trace.came) == 50
        assert trace.lost == 0
        assert [payload for _, payload in trace.came] == [payload for _, payload in trace.sent]
        assert called == [1]
        spent = running.at_rate(100, 0.2)
        assert spent.events == 20


def test_many_streams_are_warmed_until_each_has_a_window(model: Path) -> None:
    with stage(model) as place, place.side("naive_river", 0, streams=4) as running:
        running.warm()
        spent = running.backlog(100)
        assert (spent.events, spent.lost) == (100, 0)


def test_a_side_that_ends_cannot_run_and_says_why(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    with (
        stage(broken) as place,
        pytest.raises(CannotRunError, match="ours ended"),
        place.side("ours", 0),
    ):
        pass


def test_processes_folder_and_cores_are_as_before(model: Path) -> None:
    cores = os.sched_getaffinity(0)
    with stage(model) as place:
        with place.side("echo", 0) as running:
            pid = running.pid
        assert place.folder.is_dir()
    assert os.sched_getaffinity(0) == cores
    assert not place.folder.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_run_that_is_told_to_end_cleans_up(model: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stage(model) as place:
        signal.raise_signal(signal.SIGTERM)
    assert not place.folder.exists()
    assert signal.getsignal(signal.SIGTERM) is before
