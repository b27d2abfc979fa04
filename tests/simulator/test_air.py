"""The air-quality model that the demo and the accuracy benchmark share."""

from __future__ import annotations

import numpy as np

from headwater_models.bundle import Bundle
from headwater_models.checks import check_bundle
from headwater_models.graphs.builders import build
from headwater_simulator.air import HORIZON, HOUR, specification
from headwater_simulator.streams import CHANNELS, shipped


def test_it_forecasts_the_first_channel_six_hours_ahead() -> None:
    spec = specification(shipped())

    assert (spec.target, spec.horizon) == ("pm25", 6 * HOUR)
    assert spec.horizon == HORIZON
    assert spec.channels == CHANNELS


def test_its_scales_come_from_the_first_year_alone() -> None:
    stations = shipped()
    later = stations[0].values.copy()
    later[8_760:] = 0
    known = type(stations[0])(stations[0].name, stations[0].times, later)

    assert specification([known]).scaling == specification(stations).scaling


def test_a_fresh_one_keeps_the_laws_and_repeats_the_last_known_value() -> None:
    built = build(specification(shipped()), np.random.default_rng(0))
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )

    assert list(check_bundle(bundle, np.random.default_rng(1)))
    assert bundle.manifest.baseline == "persistence"
