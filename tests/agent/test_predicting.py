from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from headwater_agent.columns import RowRun
from headwater_agent.cuts import Cut, CutRun
from headwater_agent.events import Floats, Infer, Inferred, Model, Row, Version
from headwater_agent.learner import new_learner
from headwater_agent.pipeline_settings import LearnerSettings, PipelineSettings, ServeSettings
from headwater_agent.predicting import Predicting
from headwater_agent.predictions import Predictions
from headwater_agent.streams import Streams
from headwater_models.manifest import Manifest
from tests.agent.model import MINUTE, floats, manifest, regression, version

NAN = float("nan")


def cut(minute: int, *, missing: float = 0.0, marked: bool = False, level: float = 1.0) -> Cut:
    row = Row("tank-1", minute, floats(level, 1), np.ones(2, np.bool_))
    return Cut(row, np.full((3, 2), level, np.float32), minute * MINUTE + 7, marked, missing)


def predicting(model: Manifest, of: Version | None = None) -> Predicting:
    learner = new_learner(model, of or version(), LearnerSettings(), ServeSettings())
    learner.served.serving = "personal"
    return Predicting(model, learner, Streams(model, PipelineSettings()))


def made(
    *windows: Cut,
    personal: Floats | None = None,
    model: Manifest | None = None,
    of: Version | None = None,
) -> tuple[Predictions, bool]:
    asking = predicting(model or manifest(), of)
    ask = asking.ask(windows)
    assert isinstance(ask, Infer)
    released = np.arange(len(windows), dtype=np.float32)[:, None]
    theirs = released + 1 if personal is None else personal
    outputs: dict[Model, Floats] = {"released": released, "personal": theirs}
    return asking.make(windows, Inferred(ask.windows, outputs))


def test_both_models_are_asked_about_every_window() -> None:
    ask = predicting(manifest()).ask([cut(5), cut(6, level=2.0)])
    assert list(ask.parameters) == ["released", "personal"]
    assert ask.windows.times.tolist() == [5 * MINUTE, 6 * MINUTE]
    assert ask.windows.values[:, 0, 0].tolist() == [1.0, 2.0]


def test_windows_in_columns_are_asked_about_as_one_by_one() -> None:
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    windows = np.lib.stride_tricks.as_strided(values, (4, 3, 2), (8, 8, 4))
    rows = RowRun("tank-1", 5, values[2:], values[2:] > 3)
    cuts = CutRun(rows, windows, [7] * 4, [False] * 4, [0.0] * 4)
    ours, theirs = (predicting(manifest()).ask(cut).windows for cut in (cuts, list(cuts)))
    assert ours.streams == theirs.streams
    assert ours.times.tolist() == theirs.times.tolist()
    assert ours.values.tobytes() == theirs.values.tobytes()
    assert ours.values.flags.c_contiguous


def test_a_prediction_holds_what_each_model_says() -> None:
    (_, one), sane = made(cut(5), cut(6, level=2.0))
    assert sane
    assert (one.stream, one.time, one.served) == ("tank-1", 6 * MINUTE, "personal")
    assert (one.released.tolist(), one.personal.tolist(), one.baseline.tolist()) == ([1], [2], [2])
    assert (one.quality, one.received) == ("ok", 6 * MINUTE + 7)


@pytest.mark.parametrize("poor", [cut(5, missing=0.25), cut(5, missing=0.3), cut(5, marked=True)])
def test_too_much_missing_or_a_doubted_cell_degrades(poor: Cut) -> None:
    (one,), _ = made(poor)
    assert one.quality == ("ok" if poor.missing == 0.25 else "degraded")


def test_a_personal_model_that_is_not_finite_does_not_serve() -> None:
    (one,), sane = made(cut(5), personal=np.array([[np.inf]], np.float32))
    assert (one.served, sane) == ("released", False)


def test_a_model_whose_labels_come_from_outside_has_the_streams_baseline() -> None:
    (one,), _ = made(cut(5), model=regression())
    assert np.isnan(one.baseline).all()


def test_a_name_is_the_same_for_the_same_version_and_window_alone() -> None:
    def name(window: Cut, of: Version | None = None) -> str:
        return made(window, of=of)[0][0].id

    same = name(cut(5))
    assert same == name(cut(5))
    elsewhere = structs.replace(cut(5), row=structs.replace(cut(5).row, stream="tank-2"))
    assert len({same, name(cut(6)), name(elsewhere), name(cut(5), version(2))}) == 4
    assert len(same) <= 64
