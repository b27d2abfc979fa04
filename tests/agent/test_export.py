from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.errors import BundleError, StorageError, UnsupportedError
from headwater_agent.compute import Compute
from headwater_agent.events import Batch, Example, Train
from headwater_agent.export import export_personal
from headwater_agent.pipeline import Pipeline
from headwater_agent.releases import first_version
from headwater_agent.rivers.compute import RiverCompute
from headwater_agent.settings import AgentSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_models.bundle import Bundle
from headwater_models.session import Predictor
from tests.agent.agent_toml import SMALLEST, load
from tests.models.bundles import signed

LINEAR = '[learn.river]\nmodel = "river.linear_model.LinearRegression"\n'
SCALED = LINEAR + 'before = ["river.preprocessing.StandardScaler"]\n'
TREE = '[learn.river]\nmodel = "river.tree.HoeffdingTreeRegressor"\n'


def device(folder: Path, table: str = "") -> AgentSettings:
    """A device with the signed model and these tables in its settings."""
    signed().save(folder / "model")
    return load(folder, SMALLEST + table)


def batch(count: int) -> Batch:
    """Forecasts of a level that rises by one."""
    rng = np.random.default_rng(0)
    window = rng.uniform([0, 0], [9, 50], (count, 3, 2)).astype(np.float32)
    time = np.arange(count, dtype=np.int64) * 60_000
    return Batch(window, time, window[:, -1, :1] + 1, np.ones(count, np.float32))


def compute_of(settings: AgentSettings, bundle: Bundle) -> Compute:
    river = settings.learn.river
    return RiverCompute(bundle, river, lambda: ()) if river else Compute(bundle)


def learn(settings: AgentSettings, count: int = 320) -> Compute:
    """Let the device learn, and leave a checkpoint."""
    bundle = Bundle.load(settings.bundle)
    manifest = bundle.manifest
    compute = compute_of(settings, bundle)
    pipeline = Pipeline(manifest, first_version(bundle), settings.pipeline(manifest))
    given = batch(count)
    examples = [
        Example(number + 1, "tank", int(time), window, label, False)
        for number, (time, window, label) in enumerate(
            zip(given.time, given.window, given.label[:, 0].tolist(), strict=True)
        )
    ]
    list(pipeline.learner.learn(examples))
    due = list(pipeline.learner.study())
    while due:
        (step,) = due
        assert isinstance(step, Train)
        due = list(pipeline.learner.trained(compute.train(step)))
    settings.agent_db.parent.mkdir(parents=True)
    store = SqliteStore(settings.agent_db, manifest, settings.store)
    store.write([pipeline.checkpoint()])
    store.close()
    return compute


def predict(bundle: Bundle) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    made = batch(20)
    return Predictor(bundle.infer).run(made.window, made.time, bundle.weights)


@pytest.mark.parametrize("table", ["", LINEAR, SCALED])
def test_what_was_learned_is_a_bundle_of_the_same_graphs(tmp_path: Path, table: str) -> None:
    settings = device(tmp_path, table)
    learn(settings)
    exported = export_personal(settings)
    released = Bundle.load(settings.bundle)
    assert exported.model_id == released.model_id
    label = batch(20).label
    assert np.abs(predict(exported) - label).mean() < np.abs(predict(released) - label).mean()


def test_the_exported_graph_predicts_as_the_river_model_on_the_device(tmp_path: Path) -> None:
    settings = device(tmp_path, SCALED)
    compute = learn(settings)
    assert isinstance(compute, RiverCompute)
    made = batch(20)
    np.testing.assert_array_equal(
        predict(export_personal(settings)), compute.river.predict(made.window, made.time)
    )


def test_an_export_is_unsigned_and_says_where_it_comes_from(tmp_path: Path) -> None:
    settings = device(tmp_path)
    learn(settings)
    exported = export_personal(settings)
    with pytest.raises(BundleError, match="not signed"):
        exported.verify()
    assert exported.facts == {"device": "roof-1", "base": signed().version_id}


def test_a_model_without_weights_has_no_onnx_form(tmp_path: Path) -> None:
    settings = device(tmp_path, TREE)
    learn(settings)
    with pytest.raises(UnsupportedError, match=r"HoeffdingTreeRegressor .* only linear models"):
        export_personal(settings)


def test_before_the_first_start_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="start the agent once"):
        export_personal(device(tmp_path))


def test_a_river_model_that_has_learned_nothing_is_not_exported(tmp_path: Path) -> None:
    settings = device(tmp_path, SCALED)
    learn(settings, 0)
    with pytest.raises(UnsupportedError, match="has learned nothing yet"):
        export_personal(settings)
