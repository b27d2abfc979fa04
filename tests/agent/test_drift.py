from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater.settings import Duration
from headwater_agent.drift import DriftMonitor
from headwater_agent.drift_settings import Adwin, DriftSettings, Kswin, PageHinkley
from headwater_agent.events import Alarm, Row
from tests.agent.model import MINUTE, manifest

OFF = (Adwin(enabled=False), PageHinkley(enabled=False))


def watching(**chosen: object) -> DriftMonitor:
    return DriftMonitor(manifest(), DriftSettings(**chosen))  # type: ignore[arg-type]


def shown(
    monitor: DriftMonitor, errors: Iterable[float], stream: str = "tank-1", start: int = 0
) -> list[Alarm]:
    """Show errors, one a minute, and return the alarms."""
    return [
        alarm
        for i, error in enumerate(errors, start)
        for alarm in monitor.errors([stream], [i * MINUTE], [error])
    ]


def rows(levels: Sequence[float], flows: Sequence[float]) -> list[Row]:
    """One row a minute; NaN is a cell that was not observed."""
    cells = np.array([levels, flows], np.float32).T
    return [Row("tank-1", i, c, ~np.isnan(c)) for i, c in enumerate(cells)]


def fed(monitor: DriftMonitor, given_rows: Iterable[Row]) -> list[Alarm]:
    return monitor.inputs(list(given_rows))


def gains(rng: np.random.Generator, count: int, scale: float = 1.0) -> list[float]:
    """Absolute errors of a model whose errors are normal."""
    found: list[float] = (scale * np.abs(rng.standard_normal(count))).tolist()
    return found


def autocorrelated(rng: np.random.Generator, count: int, rho: float) -> list[float]:
    values, last = [], 0.0
    for noise in rng.standard_normal(count) * np.sqrt(1 - rho**2):
        last = rho * last + noise
        values.append(last)
    return values


@pytest.mark.parametrize("seed", range(5))
def test_errors_that_double_at_once_are_an_alarm_within_300_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    monitor = watching()
    assert shown(monitor, gains(rng, 3000)) == []
    alarm, *more = shown(monitor, gains(rng, 300, scale=2.0), start=3000)
    assert more == []
    assert (alarm.stream, alarm.channel) == ("tank-1", "")
    assert 3000 * MINUTE < alarm.time < 3300 * MINUTE
    assert alarm.before == pytest.approx(0.8, abs=0.1)
    assert alarm.value > 1.2 * alarm.before


@pytest.mark.parametrize("seed", range(5))
def test_errors_that_grow_by_half_in_2000_labels_are_an_alarm_before_they_have_doubled(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    monitor = watching()
    assert shown(monitor, gains(rng, 3000)) == []
    growing = [e * (1 + i / 4000) for i, e in enumerate(gains(rng, 4000))]
    assert shown(monitor, growing, start=3000)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_a_stationary_stream_raises_at_most_two_false_alarms_in_100_000_values(rho: float) -> None:
    rng = np.random.default_rng(7)
    monitor = watching(quiet=Duration(0))
    assert len(shown(monitor, autocorrelated(rng, 100_000, rho))) <= 2


def test_without_means_dependent_neighbours_would_be_taken_for_drift() -> None:
    errors = autocorrelated(np.random.default_rng(7), 20_000, 0.9)
    assert len(shown(watching(quiet=Duration(0), mean_of=1), errors)) > 20


def test_page_hinkley_alone_keeps_quiet_for_100_000_values() -> None:
    monitor = watching(quiet=Duration(0), adwin=Adwin(enabled=False), mean_of=1)
    assert shown(monitor, gains(np.random.default_rng(3), 100_000)) == []


def test_a_cycle_within_the_mean_is_no_drift() -> None:
    rng = np.random.default_rng(0)
    daily = 5 + np.sin(np.arange(20_000) * 2 * np.pi / 24) + 0.1 * rng.standard_normal(20_000)
    assert fed(watching(quiet=Duration(0)), rows(daily.tolist(), [1.0] * 20_000)) == []


def test_errors_that_fall_are_no_alarm_but_a_new_measure() -> None:
    rng = np.random.default_rng(1)
    monitor = watching()
    assert shown(monitor, gains(rng, 3000)) == []
    assert shown(monitor, gains(rng, 3000, scale=0.3), start=3000) == []
    (alarm,) = shown(monitor, gains(rng, 400), start=6000)
    assert alarm.before == pytest.approx(0.24, abs=0.05)


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(-1e3, 1e3))
def test_an_alarm_does_not_depend_on_the_unit(scale: float, offset: float) -> None:
    rng = np.random.default_rng(2)
    errors = np.array(gains(rng, 1000) + gains(rng, 400, scale=3.0))
    (plain,) = shown(watching(), errors.tolist())
    (scaled,) = shown(watching(), (scale * errors + offset).tolist())
    assert scaled.time == plain.time
    assert scaled.before == pytest.approx(scale * plain.before + offset, rel=1e-6, abs=1e-6 * scale)


def test_a_stream_that_drifts_says_nothing_of_its_neighbour() -> None:
    rng = np.random.default_rng(4)
    monitor = watching()
    for i in range(4000):
        scale = 1.0 if i < 3000 else 3.0
        for stream, error in (("a", scale), ("b", 1.0)):
            loss = error * abs(rng.standard_normal())
            found = monitor.errors([stream], [i * MINUTE], [loss])
            assert all(alarm.stream == "a" and i >= 3000 for alarm in found)
    assert shown(monitor, gains(rng, 500, scale=3.0), "b", 4000)


def test_the_channel_that_changed_is_named_in_its_own_unit() -> None:
    rng = np.random.default_rng(5)
    level = np.concatenate([rng.normal(3, 0.1, 3000), rng.normal(4, 0.1, 500)])
    found = fed(watching(), rows(level.tolist(), rng.normal(50, 5, 3500).tolist()))
    assert [alarm.channel for alarm in found] == ["level"]
    assert found[0].before == pytest.approx(3, abs=0.1)
    assert 3.2 < found[0].value < 4.1


def test_cells_that_were_not_observed_do_not_count() -> None:
    rng = np.random.default_rng(6)
    level = rng.normal(3, 0.1, 3000)
    dropped = np.where(rng.random(3000) < 0.8, np.nan, level).tolist()
    held = [
        Row(r.stream, r.slot, np.full(2, 9, np.float32), r.observed) for r in rows(dropped, dropped)
    ]
    assert fed(watching(quiet=Duration(0)), held) == []


def test_an_error_that_is_not_finite_is_passed_over() -> None:
    monitor = watching()
    rng = np.random.default_rng(8)
    assert shown(monitor, gains(rng, 2000)) == []
    assert shown(monitor, [np.nan, np.inf] * 100) == []
    assert shown(monitor, gains(rng, 1000)) == []


def test_one_change_is_one_alarm_however_many_detectors_see_it() -> None:
    rng = np.random.default_rng(9)
    errors = gains(rng, 2000) + gains(rng, 2000, scale=4.0)
    assert len(shown(watching(quiet=Duration(0)), errors)) == 1


def test_after_an_alarm_the_same_quantity_keeps_quiet_for_a_while() -> None:
    rng = np.random.default_rng(10)
    errors = [e for scale in (1, 4, 16) for e in gains(rng, 2000, scale=scale)]
    monitor = watching(quiet=Duration(10_000 * MINUTE))
    assert len(shown(monitor, errors)) == 1
    assert monitor.silenced == 1
    assert len(shown(watching(quiet=Duration(0)), errors)) == 2


def test_streams_beyond_the_limit_are_counted_and_not_watched() -> None:
    monitor = watching(streams=2)
    for stream in ("a", "b", "c", "c"):
        monitor.errors([stream], [0], [1.0])
    assert monitor.unwatched == 2


def test_kswin_sees_a_shape_that_changes_around_the_same_mean() -> None:
    rng = np.random.default_rng(11)
    narrow, wide = rng.normal(5, 0.1, 600), rng.normal(5, 2, 400)
    level = np.concatenate([narrow, wide]).tolist()
    flow = rng.normal(50, 5, 1000).tolist()
    adwin, page_hinkley = OFF
    without = watching(adwin=adwin, page_hinkley=page_hinkley)
    assert fed(without, rows(level, flow)) == []
    kswin = Kswin(enabled=True, every=2)
    found = fed(watching(adwin=adwin, page_hinkley=page_hinkley, kswin=kswin), rows(level, flow))
    assert [(alarm.detector, alarm.channel) for alarm in found] == [("kswin", "level")]
    assert found[0].time >= 600 * MINUTE


def test_warmed_on_everything_it_goes_on_as_if_it_had_not_stopped() -> None:
    rng = np.random.default_rng(12)
    level = np.concatenate([rng.normal(3, 0.1, 2500), rng.normal(3.3, 0.1, 500)])
    level[rng.random(3000) < 0.2] = np.nan
    given_rows = rows(level.tolist(), rng.normal(50, 5, 3000).tolist())
    errors = gains(rng, 2500) + gains(rng, 500, scale=2.0)
    undisturbed, warmed = watching(), watching()
    fed(undisturbed, given_rows[:2000])
    shown(undisturbed, errors[:2000])
    stored = [("tank-1", i * MINUTE, error) for i, error in enumerate(errors[:2000])]
    warmed.warm(given_rows[:2000], stored)
    rest = fed(undisturbed, given_rows[2000:])
    assert rest
    assert fed(warmed, given_rows[2000:]) == rest
    late = shown(undisturbed, errors[2000:], start=2000)
    assert late
    assert shown(warmed, errors[2000:], start=2000) == late


def test_warmed_on_the_newest_part_it_still_finds_the_change_a_little_later() -> None:
    rng = np.random.default_rng(13)
    errors = gains(rng, 2500) + gains(rng, 800, scale=2.0)
    whole, part = watching(), watching()
    for monitor, start in ((whole, 0), (part, 1500)):
        monitor.warm([], [("tank-1", i * MINUTE, errors[i]) for i in range(start, 2500)])
    (early,) = shown(whole, errors[2500:], start=2500)
    (later,) = shown(part, errors[2500:], start=2500)
    assert abs(later.time - early.time) <= 240 * MINUTE


def seen(monitor: DriftMonitor) -> list[object]:
    """What a monitor has seen of the streams, as far as numbers tell."""
    past = [series._past for rows in monitor._rows.values() for series in rows.series]
    past += [errors.series._past for errors in monitor._errors.values()]
    return [(one.count, one.mean, one.lately, one._m2) for one in past]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.sets(st.integers(1, 399), max_size=8),
    streams=st.integers(1, 3),
    every=st.sampled_from([0, 1, 5, 24]),
    mean_of=st.sampled_from([1, 7, 24]),
)
def test_rows_and_errors_are_watched_the_same_however_they_are_cut_into_batches(
    seed: int, cuts: set[int], streams: int, every: int, mean_of: int
) -> None:
    rng = np.random.default_rng(seed)
    kswin = Kswin(enabled=every > 0, every=every or 1, alpha=0.001)
    whole, alone = (
        watching(kswin=kswin, mean_of=mean_of, quiet=Duration(0), streams=2) for _ in range(2)
    )
    level = rng.normal(3, 0.1, 400) + np.where(np.arange(400) > 300, 4, 0)
    level[rng.random(400) < 0.3] = np.nan
    names = np.sort(rng.integers(0, streams, 400)) if seed % 2 else rng.integers(0, streams, 400)
    given_rows = [
        replace(row, stream=f"tank-{name}")
        for row, name in zip(
            rows(level.tolist(), rng.normal(50, 5, 400).tolist()), names, strict=True
        )
    ]
    losses = np.abs(level - 3 + rng.normal(0, 1, 400)).tolist()
    names_of, times = [row.stream for row in given_rows], [row.slot for row in given_rows]
    for start, end in pairwise([0, *sorted(cuts), 400]):
        found = [alarm for row in given_rows[start:end] for alarm in alone.inputs([row])]
        assert whole.inputs(given_rows[start:end]) == found
        part = names_of[start:end], times[start:end], losses[start:end]
        each = zip(*part, strict=True)
        found = [
            alarm for name, time, loss in each for alarm in alone.errors([name], [time], [loss])
        ]
        assert whole.errors(*part) == found
    assert seen(whole) == seen(alone)
    assert (whole.unwatched, whole.silenced) == (alone.unwatched, alone.silenced)


QUIETLY = """
import sys
from headwater_agent.drift import DriftMonitor
from headwater_agent.drift_settings import Adwin, DriftSettings, PageHinkley
from tests.agent.model import manifest
monitor = DriftMonitor(manifest(), DriftSettings({off}))
for i in range(200):
    assert monitor.errors(["s"], [i], [float(i)]) == []
assert not [name for name in sys.modules if name.split(".")[0] in ("river", "scipy")]
"""


@pytest.mark.parametrize(
    "off",
    [
        "enabled=False",
        "watch=('estimate',)",
        "adwin=Adwin(enabled=False), page_hinkley=PageHinkley(enabled=False)",
    ],
)
def test_river_is_imported_by_nobody_who_watches_nothing(off: str) -> None:
    subprocess.run([sys.executable, "-c", QUIETLY.format(off=off)], check=True)


SPARINGLY = """
import sys
from headwater_agent.drift import DriftMonitor
from headwater_agent.drift_settings import DriftSettings, Kswin
from tests.agent.model import manifest

DriftMonitor(manifest(), DriftSettings(enabled=True))
assert "river.drift" in sys.modules
assert not {"scipy.stats", "river.datasets"} & sys.modules.keys()
DriftMonitor(manifest(), DriftSettings(enabled=True, kswin=Kswin(enabled=True)))
from river.drift import KSWIN
detector = KSWIN(alpha=0.001, seed=0)
seen = []
for number in range(400):
    detector.update(number % 10 / (10 if number < 200 else 1))
    seen.append(detector.drift_detected)
assert not any(seen[:200])
assert any(seen)
"""


def test_scipys_statistics_are_loaded_for_kswin_alone_and_then_also_later() -> None:
    subprocess.run([sys.executable, "-c", SPARINGLY], check=True)
