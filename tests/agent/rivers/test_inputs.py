from __future__ import annotations

import numpy as np

from headwater_agent.rivers.inputs import reader
from headwater_models.session import Predictor
from tests.agent.rivers.bundles import anomaly_manifest, bundle, settings, stream

MODEL = "river.tree.HoeffdingTreeRegressor"
UNUSED = Predictor(bundle().infer)
HOUR = 3_600_000


def test_features_are_those_of_the_graph_in_its_order() -> None:
    built, batch = bundle(), stream(5)
    predictor = Predictor(built.infer)
    rows = reader(settings(MODEL), built.manifest, predictor)(
        batch.window, batch.time, built.weights
    )
    features = predictor.features(batch.window, batch.time, built.weights)
    assert [list(row.values()) for row in rows] == features.tolist()
    assert list(rows[0])[:2] == ["f0", "f1"]


def test_channels_have_their_names_and_earlier_rows_a_number() -> None:
    built = bundle()
    read = reader(settings(MODEL, inputs="channels", rows=2), built.manifest, UNUSED)
    window = np.array([[[1, 2], [3, 4]]], np.float32)
    assert read(window, np.zeros(1, np.int64), {}) == [
        {"level": 3.0, "rain": 4.0, "level@1": 1.0, "rain@1": 2.0}
    ]


def test_by_default_the_last_row_is_what_a_model_of_channels_sees() -> None:
    read = reader(settings(MODEL, inputs="channels"), bundle().manifest, UNUSED)
    window = np.array([[[1, 2], [3, 4]]], np.float32)
    assert read(window, np.zeros(1, np.int64), {}) == [{"level": 3.0, "rain": 4.0}]


def test_a_missing_cell_is_left_out() -> None:
    read = reader(settings(MODEL, inputs="channels", rows=9), bundle().manifest, UNUSED)
    window = np.array([[[1, np.nan], [np.nan, 4]]], np.float32)
    assert read(window, np.zeros(1, np.int64), {}) == [{"rain": 4.0, "level@1": 1.0}]


def test_a_category_is_its_name_and_one_that_is_none_is_missing() -> None:
    read = reader(settings(MODEL, inputs="channels"), anomaly_manifest(), UNUSED)
    cells = [[0, 0, gate] for gate in (0, 2, 3, -1, np.nan)]
    window = np.array(cells, np.float32)[:, None, :]
    rows = read(window, np.zeros(5, np.int64), {})
    assert [row.get("gate") for row in rows] == ["shut", "open", None, None, None]


def test_a_bundle_with_a_clock_says_hour_and_weekday() -> None:
    read = reader(settings(MODEL, inputs="channels"), anomaly_manifest(), UNUSED)
    time = np.array([0, 4 * 24 * HOUR + 18 * HOUR + HOUR // 2], np.int64)
    thursday, monday = read(np.zeros((2, 2, 3), np.float32), time, {})
    assert (thursday["@hour"], thursday["@weekday"]) == (0.0, 3.0)
    assert (monday["@hour"], monday["@weekday"]) == (18.5, 0.0)
