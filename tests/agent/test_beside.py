from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater.errors import BundleError, SettingsError
from headwater_agent.beside import Beside, load_beside
from headwater_agent.beside_settings import BesideSettings
from headwater_agent.events import Inferred, Windows
from headwater_models.bundle import Bundle
from headwater_models.graphs.stack import stack_inference
from headwater_models.manifest import Manifest
from headwater_models.session import Predictor
from tests.models.bundles import PUBLISHER, RELEASE, signed, tiny

RNG = np.random.default_rng(5)
VALUES = RNG.uniform(0, 10, (4, 3, 2)).astype(np.float32)
TIMES = np.arange(4, dtype=np.int64) * 60_000
WINDOWS = Windows(("tank",) * 4, TIMES, VALUES)


def other(kind: str, by: float, *, stacked: bool = True) -> Bundle:
    """A model of the same inputs with weights of its own."""
    bundle = tiny(kind)
    weights = {name: array + np.float32(by) for name, array in bundle.weights.items()}
    graph = stack_inference(bundle.infer, bundle.manifest) if stacked else None
    return dataclasses.replace(bundle, weights=weights, stacked=graph)


def changed(**fields: object) -> Manifest:
    return msgspec.structs.replace(tiny().manifest, **fields)


@pytest.mark.parametrize("stacked", [True, False])
def test_each_model_predicts_what_it_predicts_alone_in_the_order_of_their_names(
    stacked: bool,
) -> None:
    bundles = {
        "a": other("mlp", 0.1, stacked=stacked),
        "b": other("linear", 0.2, stacked=stacked),
        "c": other("mlp", 0.3, stacked=stacked),
    }
    beside = Beside(bundles, outputs=1)
    said = beside.join(Inferred(WINDOWS, {})).beside
    assert said is not None
    assert said.shape == (4, 3, 1)
    for place, bundle in enumerate(bundles.values()):
        alone = Predictor(bundle.infer).run(VALUES, TIMES, bundle.weights)
        np.testing.assert_allclose(said[:, place], alone, rtol=1e-5)
    assert beside.names == ("a", "b", "c")
    assert beside.versions == tuple(bundle.version_id for bundle in bundles.values())


def test_models_with_equal_graphs_take_one_call() -> None:
    mixed = {"a": other("mlp", 0.1), "b": other("linear", 0.2), "c": other("mlp", 0.3)}
    assert Beside(mixed, outputs=1).calls == 2


def test_without_models_the_answer_stays_as_it_is() -> None:
    answer = Inferred(WINDOWS, {})
    assert Beside({}, outputs=1).join(answer) is answer


def test_models_are_found_by_patterns_and_called_by_their_files(tmp_path: Path) -> None:
    for name in ("beta.zip", "alpha.zip", "solo"):
        other("linear", len(name)).save(tmp_path / name)
    settings = BesideSettings(models=("*.zip", "solo")).under(tmp_path)
    found = load_beside(settings, tiny().manifest, publisher=None)
    assert list(found) == ["alpha", "beta", "solo"]


def test_a_pattern_that_finds_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"beside\.models: .*\*\.zip finds no model"):
        BesideSettings(models=("*.zip",)).under(tmp_path).bundles()


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        other("linear", 1).save(tmp_path / folder / "model.zip")
    with pytest.raises(SettingsError, match="have the same name"):
        BesideSettings(models=("*/model.zip",)).under(tmp_path).bundles()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"horizon": tiny().manifest.grid.period}, "horizon"),
        ({"channels": tuple(reversed(tiny().manifest.channels))}, "channels"),
        ({"window": 4}, "window"),
    ],
)
def test_a_model_that_predicts_something_else_is_refused(
    tmp_path: Path, fields: dict[str, object], named: str
) -> None:
    tiny().save(tmp_path / "one.zip")
    settings = BesideSettings(models=("one.zip",)).under(tmp_path)
    with pytest.raises(SettingsError, match=f"one.zip differs from the first model in {named};"):
        load_beside(settings, changed(**fields), publisher=None)


def test_anomaly_models_are_refused(tmp_path: Path) -> None:
    tiny().save(tmp_path / "one.zip")
    settings = BesideSettings(models=("one.zip",)).under(tmp_path)
    with pytest.raises(SettingsError, match="no common unit"):
        load_beside(settings, changed(task="anomaly"), publisher=None)


def test_each_must_be_signed_by_the_publisher_that_is_trusted(tmp_path: Path) -> None:
    signed().save(tmp_path / "good.zip")
    settings = BesideSettings(models=("*.zip",)).under(tmp_path)
    assert list(load_beside(settings, tiny().manifest, publisher=PUBLISHER.public)) == ["good"]
    tiny().sign(RELEASE, delegates=[RELEASE.public], created=1).save(tmp_path / "bad.zip")
    with pytest.raises(BundleError):
        load_beside(settings, tiny().manifest, publisher=PUBLISHER.public)
