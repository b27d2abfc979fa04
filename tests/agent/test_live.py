from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from headwater_agent.events import Mark, Version
from headwater_agent.learner import Learner, new_learner
from headwater_agent.live import LATENCY_BOUNDS_S, RATE_WINDOW_S, Live, LiveReport, write_live
from headwater_agent.pipeline_settings import LearnerSettings, ServeSettings
from tests.agent.making import small_manifest


def learner() -> Learner:
    version = Version("v1", 1, {"w": np.zeros(2, np.float32)})
    return new_learner(small_manifest(), version, LearnerSettings(), ServeSettings())


def report(live: Live, at: float, of: Learner | None = None) -> LiveReport:
    made = live.report(at, connected=True, trouble="", learner=of or learner())
    return msgspec.json.decode(made, type=LiveReport)


def test_the_rate_is_a_mean_over_the_last_seconds() -> None:
    live = Live()
    live.arrived(100, 1.0)
    live.arrived(50, 4.0)
    assert report(live, 4.0).records_per_s == 150 / RATE_WINDOW_S
    assert report(live, 4.0 + RATE_WINDOW_S).records_per_s == 50 / RATE_WINDOW_S
    assert report(live, 60.0).records_per_s == 0


def test_percentiles_are_taken_over_the_newest_predictions() -> None:
    live = Live()
    for latency in range(101):
        live.predicted(latency)
    made = report(live, 0.0)
    assert (made.latency_p50_ms, made.latency_p99_ms, made.predictions) == (50, 99, 101)


def test_each_latency_falls_into_one_part_of_the_histogram() -> None:
    live = Live()
    for latency_ms in (0.5, 1.0, 1.1, 2_500.0, 2_501.0):
        live.predicted(latency_ms)
    made = report(live, 0.0)
    assert made.latency_counts == (2, 1, *[0] * (len(LATENCY_BOUNDS_S) - 3), 1, 1)
    assert abs(made.latency_sum_s - 5.0036) < 1e-9
    live.predicted(0.5)
    later = report(live, 1.0)
    assert (later.latency_counts[0], sum(later.latency_counts), later.predictions) == (3, 6, 6)
    assert report(live, 2.0) == later


def test_marks_add_up_by_reason() -> None:
    live = Live()
    live.marked([Mark("s", 0, 0, 9.0, "spike"), Mark("s", 0, 1, 9.0, "range")])
    live.marked([Mark("s", 1, 0, 9.0, "spike")])
    assert report(live, 0.0).marked == {"spike": 2, "range": 1}


def test_what_was_learned_is_taken_from_the_learner() -> None:
    mine = learner()
    mine.steps = 7
    mine.score.add([(4.0, 3.0, 2.0, 1.0)])
    mine.served.serving = "personal"
    made = report(Live(), 0.0, mine)
    assert made.errors == {"baseline": 4.0, "released": 3.0, "personal": 2.0, "served": 1.0}
    assert (made.steps, made.serves_personal) == (7, True)
    assert not report(Live(), 0.0).serves_personal


def test_refusals_add_up_by_reason() -> None:
    live = Live()
    live.refused({"refused-late": 2})
    live.refused({"refused-late": 1, "refused-json": 1})
    assert report(live, 0.0).refused == {"refused-late": 3, "refused-json": 1}


def test_a_report_without_a_prediction_has_no_latency() -> None:
    assert report(Live(), 0.0).latency_p99_ms == 0


def test_a_status_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    write_live(path, b"first")
    write_live(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]
