from __future__ import annotations

from pathlib import Path

import msgspec

from headwater_agent.live import RATE_WINDOW_S, Live, LiveReport, write_live


def report(live: Live, at: float) -> LiveReport:
    return msgspec.json.decode(live.report(at, connected=True, trouble=""), type=LiveReport)


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
