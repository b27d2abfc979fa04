from __future__ import annotations

import doctest

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater.settings import Duration
from headwater_agent import estimate as module
from headwater_agent.drift_settings import DriftSettings
from headwater_agent.drift_settings import Estimate as EstimateSettings
from headwater_agent.estimate import CHUNKS, LEAST, Estimate, Numbers, SavedEstimate, isotonic
from headwater_agent.events import Alarm, Floats, Prediction
from headwater_agent.predictions import Predictions
from headwater_models.manifest import Manifest
from headwater_simulator.streams import shipped
from tests.agent.model import MINUTE, manifest

Made = tuple[Predictions, Floats]


def classifier() -> Manifest:
    return msgspec.structs.replace(
        manifest(),
        task="classification",
        classes=("calm", "storm"),
        target="",
        horizon=Duration(0),
        loss="cross_entropy",
        baseline="majority",
    )


def made(
    released: Numbers,
    *,
    personal: Numbers | None = None,
    baseline: Numbers | None = None,
    windows: Floats | None = None,
    stream: str = "tank-1",
    start: int = 0,
) -> Made:
    """Predictions, one a minute; all arguments ``[N, K]``."""
    theirs = released if personal is None else personal
    said = np.stack([released, theirs, released if baseline is None else baseline], axis=1)
    predictions = [
        Prediction(
            id=f"{stream}-{start + i}",
            stream=stream,
            time=(start + i) * MINUTE,
            version="v1",
            said=said[i].astype(np.float32),
            quality="ok",
            received=0,
        )
        for i in range(len(released))
    ]
    columns = Predictions.of(predictions)
    return columns, np.ones((len(released), 3, 2), np.float32) if windows is None else windows


def overconfident(rng: np.random.Generator, count: int, centre: float) -> tuple[Made, Numbers]:
    """A classifier that is right less often than it says; return its predictions and errors."""
    x = rng.normal(centre, 1, count)
    storm = rng.random(count) < 1 / (1 + np.exp(-2 * x))
    said = 1 / (1 + np.exp(-5 * x))
    wrong = ((said > 0.5) != storm).astype(np.float64)
    return made(np.stack([1 - said, said], axis=1)), wrong


def volatile(
    rng: np.random.Generator, count: int, calm: float, wild: float
) -> tuple[Made, Numbers]:
    """A forecaster whose errors grow with how much its window moves."""
    scale = rng.uniform(calm, wild, count)
    windows = (5 + scale[:, None, None] * rng.standard_normal((count, 12, 2))).astype(np.float32)
    said = windows[:, -1, :1].astype(np.float64)
    error = np.abs(scale * rng.standard_normal(count))
    return made(said, personal=said + 0.1, baseline=said + 0.2, windows=windows), error


def chunked(estimate: Estimate, told: Made, chunk: int) -> tuple[list[Alarm], Numbers]:
    """Show predictions chunk by chunk; return the alarms and what was expected of each."""
    alarms, expected = [], []
    for start in range(0, len(told[0]) - chunk + 1, chunk):
        part = slice(start, start + chunk)
        alarms += estimate.expect(told[0][part], told[1][part])
        expected.append(estimate.expected(told[0][start].stream) or np.nan)
    return alarms, np.array(expected)


def test_a_classifiers_error_after_covariate_shift_is_told_within_3_points() -> None:
    rng = np.random.default_rng(0)
    estimate = Estimate(classifier(), DriftSettings(estimate=EstimateSettings(chunk=1000)))
    past, wrong = overconfident(rng, 4000, centre=1.5)
    estimate.learn(*past, wrong)
    for centre in (1.5, 0.8, 0.2):
        told, truth = overconfident(rng, 4000, centre)
        _, expected = chunked(estimate, told, 1000)
        assert abs(expected.mean() - truth.mean()) < 0.03
        confidence = np.array([prediction.released.max() for prediction in told[0]])
        assert abs(expected.mean() - truth.mean()) < abs((1 - confidence).mean() - truth.mean())


def test_a_forecasters_error_after_covariate_shift_is_told_within_a_fifth() -> None:
    rng = np.random.default_rng(1)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=1000)))
    past, losses = volatile(rng, 4000, 0.5, 2.0)
    estimate.learn(*past, losses)
    for calm, wild in ((0.5, 1.0), (0.5, 2.0), (1.5, 2.0), (3.0, 6.0)):
        told, truth = volatile(rng, 4000, calm, wild)
        _, expected = chunked(estimate, told, 1000)
        assert expected.mean() == pytest.approx(truth.mean(), rel=0.2)


def test_on_real_air_the_estimate_follows_the_error_of_a_year_without_labels() -> None:
    """Six hours ahead by linear regression: labels of two years, then none."""
    pm25 = shipped()[0].values[:, 0].astype(np.float64)
    ends = np.arange(24, len(pm25) - 6, 2)
    windows = np.stack([pm25[ends - lag] for lag in range(11, -1, -1)], axis=1)
    whole = np.isfinite(windows).all(axis=1) & np.isfinite(pm25[ends + 6])
    windows, labels = windows[whole], pm25[ends + 6][whole]
    quarter = len(labels) // 4
    past = np.column_stack([np.ones(len(labels)), windows])
    fits = [np.linalg.lstsq(past[a:b], labels[a:b])[0] for a, b in ((0, quarter), (0, 3 * quarter))]
    told = made(
        (past @ fits[0])[:, None],
        personal=(past @ fits[1])[:, None],
        baseline=windows[:, -1:],
        windows=np.stack([windows, windows], axis=2).astype(np.float32),
    )
    losses = np.abs(past @ fits[0] - labels)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=100)))
    known, later = slice(quarter, 3 * quarter), slice(3 * quarter, None)
    estimate.learn(told[0][known], told[1][known], losses[known])
    _, expected = chunked(estimate, (told[0][later], told[1][later]), 100)
    truth = losses[later][: len(expected) * 100].reshape(-1, 100).mean(axis=1)
    assert np.corrcoef(expected, truth)[0, 1] > 0.8
    constant = np.abs(losses[known].mean() - truth).mean()
    assert np.abs(expected - truth).mean() < 0.7 * constant


def test_a_chunk_that_leaves_the_band_is_an_alarm() -> None:
    rng = np.random.default_rng(2)
    estimate = Estimate(manifest(), DriftSettings())
    past, losses = volatile(rng, 1000, 0.5, 2.0)
    estimate.learn(*past, losses)
    alarms, expected = chunked(estimate, volatile(rng, 200 * 50, 0.5, 2.0)[0], 200)
    assert alarms == []
    (alarm,), (shifted,) = chunked(estimate, volatile(rng, 200, 3.0, 4.0)[0], 200)
    assert (alarm.stream, alarm.detector, alarm.channel) == ("tank-1", "estimate", "")
    assert alarm.before == pytest.approx(expected.mean(), rel=1e-3)
    assert alarm.value > 2 * alarm.before
    assert alarm.value == shifted


def test_streams_are_estimated_apart() -> None:
    rng = np.random.default_rng(3)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=100)))
    past, losses = volatile(rng, 1000, 0.5, 2.0)
    estimate.learn(*past, losses)
    calm, windows = volatile(rng, 100, 0.5, 0.6)[0]
    wild, wilder = volatile(rng, 100, 1.9, 2.0)[0]
    mixed = Predictions.of([*calm, *(replace(p, stream="b") for p in wild)])
    estimate.expect(mixed, np.concatenate([windows, wilder]))
    first, second = estimate.expected("tank-1"), estimate.expected("b")
    assert first is not None
    assert second is not None
    assert second > 2 * first


def test_without_labels_nothing_is_said() -> None:
    rng = np.random.default_rng(4)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=10)))
    told, losses = volatile(rng, LEAST - 1, 0.5, 2.0)
    estimate.learn(*told, losses)
    estimate.expect(*told)
    assert estimate.expected("tank-1") is None
    estimate.learn(*told, np.full(LEAST - 1, np.nan))
    assert estimate.labels == pytest.approx(LEAST - 1)


def test_it_goes_on_from_what_was_saved() -> None:
    rng = np.random.default_rng(5)
    settings = DriftSettings(estimate=EstimateSettings(chunk=100))
    forecasts = [volatile(rng, 1000, 0.5, 2.0) for _ in range(2)]
    classes = [overconfident(rng, 1000, 1.0) for _ in range(2)]
    for kind, ((told, losses), (later, _)) in ((manifest(), forecasts), (classifier(), classes)):
        undisturbed, again = Estimate(kind, settings), Estimate(kind, settings)
        undisturbed.learn(*told, losses)
        undisturbed.expect(told[0][:950], told[1][:950])
        raw = msgspec.msgpack.encode(undisturbed.save())
        again.restore(msgspec.msgpack.decode(raw, type=SavedEstimate))
        for one in (undisturbed, again):
            one.expect(*later)
        assert again.expected("tank-1") == undisturbed.expected("tank-1") is not None


def test_what_was_saved_for_another_kind_of_model_is_left_aside() -> None:
    rng = np.random.default_rng(6)
    told, losses = volatile(rng, 1000, 0.5, 2.0)
    saved = Estimate(manifest(), DriftSettings())
    saved.learn(*told, losses)
    other = Estimate(classifier(), DriftSettings())
    other.restore(saved.save())
    assert other.labels == 0


@pytest.mark.parametrize("task", ["anomaly", "forecast"])
def test_anomaly_scores_and_streams_not_watched_have_no_estimate(task: str) -> None:
    rng = np.random.default_rng(7)
    kind = msgspec.structs.replace(manifest(), task=task)
    settings = DriftSettings(watch=("estimate",) if task == "anomaly" else ("error",))
    estimate = Estimate(kind, settings)
    told, losses = volatile(rng, 1000, 0.5, 2.0)
    estimate.learn(*told, losses)
    assert estimate.expect(*told) == []
    assert (estimate.labels, estimate.expected("tank-1")) == (0, None)


def test_streams_beyond_the_limit_are_not_estimated() -> None:
    rng = np.random.default_rng(8)
    settings = DriftSettings(streams=1, estimate=EstimateSettings(chunk=100))
    estimate = Estimate(manifest(), settings)
    told, losses = volatile(rng, 1000, 0.5, 2.0)
    estimate.learn(*told, losses)
    estimate.expect(*told)
    other = Predictions.of([replace(p, stream="b") for p in told[0]])
    estimate.expect(other, told[1])
    assert estimate.expected("tank-1") is not None
    assert estimate.expected("b") is None


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 9)), min_size=1, max_size=30))
def test_isotonic_regression_never_falls_and_keeps_the_weighted_mean(
    pairs: list[tuple[float, float]],
) -> None:
    values, weights = np.array(pairs).T
    fitted = isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-12).all()
    assert fitted @ weights == pytest.approx(values @ weights, abs=1e-9)
    assert isotonic(fitted, weights) == pytest.approx(fitted)


def test_the_example_holds() -> None:
    assert doctest.testmod(module) == (0, 1)


def test_the_first_band_needs_some_chunks() -> None:
    rng = np.random.default_rng(9)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=20)))
    past, losses = volatile(rng, 1000, 0.5, 2.0)
    estimate.learn(*past, losses)
    chunked(estimate, volatile(rng, 20 * (CHUNKS - 1), 0.5, 2.0)[0], 20)
    assert chunked(estimate, volatile(rng, 20, 5.0, 6.0)[0], 20)[0] == []


@pytest.mark.parametrize("together", [1, 7, 500])
def test_it_does_not_matter_how_many_come_at_once(together: int) -> None:
    rng = np.random.default_rng(10)
    (told, losses), (later, _) = volatile(rng, 500, 0.5, 2.0), volatile(rng, 500, 1.0, 3.0)
    settings = DriftSettings(estimate=EstimateSettings(chunk=90))
    whole, parts = Estimate(manifest(), settings), Estimate(manifest(), settings)
    whole.learn(*told, losses)
    whole.expect(*later)
    for start in range(0, 500, together):
        part = slice(start, start + together)
        parts.learn(told[0][part], told[1][part], losses[part])
    for start in range(0, 500, together):
        part = slice(start, start + together)
        parts.expect(later[0][part], later[1][part])
    assert parts.expected("tank-1") == pytest.approx(whole.expected("tank-1"), rel=0.02)


def test_the_band_is_seldom_left_where_nothing_changes() -> None:
    rng = np.random.default_rng(11)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=100)))
    past, losses = volatile(rng, 2000, 0.5, 2.0)
    estimate.learn(*past, losses)
    assert len(chunked(estimate, volatile(rng, 30_000, 0.5, 2.0)[0], 100)[0]) <= 2


def test_a_stream_that_is_forgotten_begins_anew_and_what_is_known_of_the_model_stays() -> None:
    rng = np.random.default_rng(0)
    estimate = Estimate(manifest(), DriftSettings(estimate=EstimateSettings(chunk=50)))
    told = made(rng.standard_normal((LEAST + 50, 1)))
    estimate.learn(*told, np.ones(LEAST + 50))
    estimate.expect(*told)
    assert estimate.expected("tank-1") is not None
    estimate.expect(*made(rng.standard_normal((7, 1)), start=1_000))
    estimate.forget("tank-1")
    assert estimate.expected("tank-1") is None
    assert estimate.save().streams == {}
    assert estimate.labels > LEAST
    estimate.expect(*made(rng.standard_normal((7, 1)), start=2_000))
    (chunks,) = estimate.save().streams.values()
    assert chunks.count == 7


@pytest.mark.parametrize("task", ["forecast", "regression"])
def test_a_window_says_the_same_beside_one_with_gaps_to_the_last_bit(task: str) -> None:
    kind = msgspec.structs.replace(manifest(), task=task)
    method = Estimate(kind, DriftSettings())._method
    assert method is not None
    predictions, windows = volatile(np.random.default_rng(12), 20, 0.5, 2.0)[0]
    alone = method.signals(predictions[1:], windows[1:])
    windows[0, 3:] = np.nan
    beside = method.signals(predictions, windows)
    assert beside[0].all()
    assert np.array_equal(beside[1:], alone)


def test_streams_that_alternate_are_estimated_as_one_after_the_other() -> None:
    rng = np.random.default_rng(13)
    settings = DriftSettings(estimate=EstimateSettings(chunk=100))
    mixed, apart = Estimate(manifest(), settings), Estimate(manifest(), settings)
    past, losses = volatile(rng, 1000, 0.5, 2.0)
    told, windows = volatile(rng, 400, 0.5, 2.0)[0]
    told = Predictions.of([replace(p, stream="ab"[i % 2]) for i, p in enumerate(told)])
    for one in mixed, apart:
        one.learn(past[0], past[1], losses)
    mixed.expect(told, windows)
    for start in 0, 1:
        apart.expect(told[start::2], windows[start::2])
    for stream in "ab":
        assert mixed.expected(stream) == apart.expected(stream) is not None
