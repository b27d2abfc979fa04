from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import SettingsError
from headwater_agent.rivers.engine import Engine
from headwater_agent.rivers.inputs import reader
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.trial import ROWS, trial_labels, trial_windows, where
from headwater_models.session import Predictor
from tests.agent.rivers.bundles import anomaly_manifest, bundle, settings


def try_out(wanted: RiverSettings) -> None:
    manifest = anomaly_manifest()
    read = reader(wanted, manifest, Predictor(bundle().infer))
    Engine(wanted, manifest).try_out(read(*trial_windows(manifest), {}), trial_labels(manifest))


def test_made_up_windows_are_such_as_the_channels_can_have() -> None:
    manifest = anomaly_manifest()
    window, time = trial_windows(manifest)
    assert window.shape == (ROWS, manifest.window, len(manifest.channels))
    for column, channel in enumerate(manifest.channels):
        cells = window[..., column]
        assert channel.minimum <= cells.min() <= cells.max() <= channel.maximum
    assert set(np.unique(window[..., 2])) <= {0, 1, 2}
    assert np.all(np.diff(time) == manifest.grid.period)


def test_made_up_labels_are_every_class_or_numbers() -> None:
    assert set(trial_labels(bundle("classification", 3).manifest)) == {0, 1, 2}
    assert len(set(trial_labels(bundle().manifest))) == ROWS


def test_a_model_that_cannot_read_a_category_is_refused_at_start_with_the_reason() -> None:
    wanted = settings("river.anomaly.OneClassSVM", inputs="channels")
    with pytest.raises(SettingsError, match=r"learn\.river: .*OneClassSVM cannot learn from rows"):
        try_out(wanted)


def test_with_a_fitting_transformer_before_it_the_same_model_passes() -> None:
    numbers = {"model": "river.compose.Discard", "arguments": {"keys": ["gate"]}}
    scaler = "river.preprocessing.StandardScaler"
    try_out(settings("river.anomaly.OneClassSVM", inputs="channels", before=[numbers, scaler]))


def test_an_error_is_named_by_its_place_and_not_by_what_it_quotes() -> None:
    def fail() -> None:
        raise KeyError("a reading of 12.5")

    with pytest.raises(KeyError) as caught:
        fail()
    place = where(caught.value)
    assert place.startswith("KeyError in test_trial.py:")
    assert "12.5" not in place
