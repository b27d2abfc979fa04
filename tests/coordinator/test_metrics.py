"""What Prometheus sees of a coordinator."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater import wire
from headwater.metrics_settings import MetricsSettings
from headwater_coordinator.home import Home
from headwater_coordinator.metrics import PREFIX, render, shown_metrics
from tests.conftest import free_port
from tests.coordinator.world import START, World

pytestmark = pytest.mark.both_engines


def figures(home: Home, *, running: bool = True) -> dict[str, float]:
    """Every sample by its name, and its label where it has one."""
    families = text_string_to_metric_families(render(home, running=running).decode())
    return {
        " ".join([sample.name.removeprefix(f"{PREFIX}_"), *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_books(world: World) -> None:
    world.join("a", "b", "c")
    bad, *_ = world.waiting(wire.Kind.TRAIN)
    world.answer(bad, world.update(bad, examples=0), world.vector())
    world.train_all()
    world.judge_all(0.5)
    world.turn(2_000)
    world.train_all(0.25)
    world.judge_all(-0.25)
    world.turn(2_000)

    found = figures(world.home)

    assert (found["devices_online"], found["devices_known"], found["running"]) == (3, 3, 1)
    assert (found["rounds_total merged"], found["accepted_updates_total"]) == (2, 5)
    assert found["refused_updates_total"] == 1
    assert found["received_bytes_total"] > 6 * 4 * world.size
    assert (found["decisions_total release"], found["decisions_total reject"]) == (1, 1)
    assert found["release_sequence"] == 2
    assert found["release_timestamp_seconds"] > START / 1000
    assert (found["candidate_loss candidate"], found["candidate_loss release"]) == (0.75, 1)
    assert found["merge_seconds_count"] == 2
    assert found["merge_seconds_sum"] >= 0
    assert found["phase waiting"] == 1


def test_while_nothing_runs_nobody_is_online_and_there_is_no_phase(world: World) -> None:
    world.join("a", "b")
    found = figures(world.home, running=False)
    assert (found["devices_online"], found["devices_known"], found["running"]) == (0, 2, 0)
    assert not [name for name in found if name.startswith("phase")]


def test_books_that_cannot_be_read_are_said_and_end_nothing(tmp_path: Path) -> None:
    assert figures(Home(tmp_path))["books_unreadable"] == 1


def test_they_are_shown_where_the_settings_say(world: World) -> None:
    port = free_port()
    wanted = MetricsSettings(listen=f"127.0.0.1:{port}", textfile=Path("c.prom"))
    with shown_metrics(world.home, wanted):
        said = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert f"{PREFIX}_release_sequence 1.0" in said
    with shown_metrics(world.home, MetricsSettings()):
        pass
