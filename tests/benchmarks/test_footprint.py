"""What a process takes is read of the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import footprint
from benchmarks.agent import workload
from benchmarks.agent.stage import stage


def test_bytes_handed_over_to_a_file_are_counted(tmp_path: Path) -> None:
    _, before = footprint.written(os.getpid())
    (tmp_path / "file").write_bytes(bytes(100_000))
    _, after = footprint.written(os.getpid())
    assert after - before >= 100_000


def test_memory_grows_with_what_is_held() -> None:
    before = footprint.rss_mb(os.getpid())
    held = os.urandom(50_000_000)
    assert footprint.rss_mb(os.getpid()) - before > 40
    assert len(held) == 50_000_000


def test_peers_stand_beside_as_medians() -> None:
    figure = footprint.beside([1.0, 2.0, 9.0], [4.0, 4.0, 5.0], "MB")
    assert (figure.ours, figure.peers, figure.ratio) == (2.0, {"naive_script": 4.0}, 2.0)


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_an_agent_and_a_waiting_client_are_measured(tmp_path: Path) -> None:
    model = tmp_path / "model"
    workload.model().save(model)
    with stage(model, tmp_path) as place:
        taken = footprint.take(place, "ours_without_river", 3.0)
        assert taken.first_s > 0
        assert taken.rss_mb > 30
        assert taken.written_bytes > 0
    with stage(model, tmp_path) as place:
        assert footprint.client_mb(place, 3.0) > 30
