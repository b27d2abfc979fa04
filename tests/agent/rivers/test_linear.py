from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.rivers.dotted import make
from headwater_agent.rivers.head import Coefficients
from headwater_agent.rivers.inputs import CONSTANT
from headwater_agent.rivers.linear import LinearModel, as_linear
from headwater_agent.rivers.settings import RiverPart

NAMES = ["f0", "f1", "f2"]
CLASSES = 3
NUMBERS = ["LinearRegression", "PARegressor"]
LOGITS = ["LogisticRegression", "PAClassifier", "Perceptron"]
MODELS = [*NUMBERS, *LOGITS, "SoftmaxRegression"]
FALLING = {
    "model": "river.optim.schedulers.InverseScaling",
    "arguments": {"learning_rate": 0.1},
}
BEFORE: list[tuple[str, ...]] = [
    (),
    ("river.preprocessing.StandardScaler",),
    ("river.preprocessing.StandardScaler", "river.preprocessing.MinMaxScaler"),
]


def make_linear(name: str, before: tuple[str, ...] = (), **arguments: Any) -> Any:
    part = RiverPart(model=f"river.linear_model.{name}", before=before, arguments=arguments)
    return make(part, "learn.river")


def linear_of(model: Any) -> LinearModel:
    linear = as_linear(model, CLASSES)
    assert linear is not None
    return linear


def teach(model: Any, name: str, count: int = 30, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for number in range(count):
        label = rng.normal() if name in NUMBERS else number % (2 if name in LOGITS else CLASSES)
        model.learn_one(row(rng.normal(size=3), name), bool(label) if name in LOGITS else label)


def row(values: Any, name: str) -> dict[str, float]:
    constant = {CONSTANT: 1.0} if name == "SoftmaxRegression" else {}
    return dict(zip(NAMES, map(float, values), strict=True)) | constant


def raw(model: Any, x: dict[str, float], name: str) -> list[float]:
    """The linear part of a prediction, up to what the softmax cancels."""
    if name in NUMBERS:
        return [model.predict_one(x)]
    p = model.predict_proba_one(x)
    if name in LOGITS:
        return [math.log(p[True] / p[False])]
    return [math.log(p[label] / p[0]) for label in range(CLASSES)]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", MODELS)
def test_coefficients_over_the_inputs_predict_what_river_predicts(
    name: str, before: tuple[str, ...]
) -> None:
    model = make_linear(name, before)
    linear = linear_of(model)
    teach(model, name)
    coefficients = linear.coefficients(NAMES)
    for values in np.random.default_rng(9).normal(size=(20, 3)):
        logits = values @ coefficients.weight + coefficients.bias
        want = raw(model, row(values, name), name)
        np.testing.assert_allclose(
            logits - (logits[0] if name == "SoftmaxRegression" else 0), want, rtol=1e-9, atol=1e-9
        )


@given(st.sampled_from(MODELS), st.integers(0, 2**32 - 1))
def test_weights_that_are_written_are_those_that_river_predicts_with(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = make_linear(name)
    linear = linear_of(model)
    teach(model, name, count=int(rng.integers(5)))
    given_ = Coefficients(rng.normal(size=(3, linear.logits)), rng.normal(size=linear.logits))
    linear.set(NAMES, given_)
    np.testing.assert_array_equal(linear.coefficients(NAMES).weight, given_.weight)
    np.testing.assert_array_equal(linear.coefficients(NAMES).bias, given_.bias)
    values = rng.normal(size=3)
    logits = values @ given_.weight + given_.bias
    want = raw(model, row(values, name), name)
    np.testing.assert_allclose(
        logits - (logits[0] if name == "SoftmaxRegression" else 0), want, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", MODELS)
def test_learning_goes_on_from_weights_that_were_written(name: str) -> None:
    one, other = make_linear(name), make_linear(name)
    teach(one, name)
    linear = linear_of(other)
    linear.set(NAMES, linear_of(one).coefficients(NAMES))
    teach(one, name, seed=2)
    teach(other, name, seed=2)
    assert linear_of(other).numbers().weights == linear_of(one).numbers().weights


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", MODELS)
def test_numbers_written_into_a_fresh_model_make_it_go_on_in_step(
    name: str, before: tuple[str, ...]
) -> None:
    one, other = make_linear(name, before), make_linear(name, before)
    teach(one, name)
    linear_of(other).restore(linear_of(one).numbers())
    assert linear_of(other).numbers() == linear_of(one).numbers()
    teach(one, name, seed=3)
    teach(other, name, seed=3)
    assert linear_of(other).numbers() == linear_of(one).numbers()


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": {"model": "river.optim.SGD", "arguments": {"lr": FALLING}}},
        {"optimizer": "river.optim.Adam"},
        {"l1": 0.01},
    ],
)
@pytest.mark.parametrize("name", ["LinearRegression", "LogisticRegression", "SoftmaxRegression"])
def test_what_the_optimiser_remembers_goes_along(name: str, arguments: dict[str, Any]) -> None:
    if name == "SoftmaxRegression" and "l1" in arguments:
        arguments = {"l2": 0.01}
    one, other = (make_linear(name, **arguments) for _ in range(2))
    teach(one, name)
    linear_of(other).restore(linear_of(one).numbers())
    teach(one, name, seed=3)
    teach(other, name, seed=3)
    assert linear_of(other).numbers() == linear_of(one).numbers()


def test_every_class_counts_from_the_start() -> None:
    model = make_linear("SoftmaxRegression")
    linear_of(model)
    assert model.predict_proba_one({"f0": 1.0}) == dict.fromkeys(range(3), pytest.approx(1 / 3))


@pytest.mark.parametrize(
    "part",
    [
        RiverPart(model="river.tree.HoeffdingTreeRegressor"),
        RiverPart(model="river.linear_model.BayesianLinearRegression"),
        RiverPart(
            model="river.linear_model.LinearRegression",
            before=("river.preprocessing.RobustScaler",),
        ),
        RiverPart(
            model="river.linear_model.LinearRegression",
            arguments={"optimizer": "river.optim.FTRLProximal"},
        ),
    ],
)
def test_what_is_more_than_weights_is_not_taken_for_linear(part: RiverPart) -> None:
    assert as_linear(make(part, "learn.river"), CLASSES) is None
