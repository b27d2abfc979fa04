"""The table of strategies: whole, true to Flower's arguments, and told to whoever gets it wrong."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from flwr.serverapp import strategy as flower
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError, UnsupportedError
from headwater_coordinator.strategies import choose, refuse_unfit
from headwater_coordinator.strategies.averaging import FedProx
from headwater_coordinator.strategies.optimisers import FedAdam
from headwater_coordinator.strategies.table import ELSEWHERE, TABLE, Row
from tests.coordinator.strategies.peers import SEEDS, SIZE, draw, updates
from tests.models.bundles import tiny
from tests.models.statistics.gathered import manifest as statistics_model

CHOSEN = [row for row in TABLE if row.kind is not None]
REFUSED = [row for row in TABLE if row.kind is None]
FLOWERS = [row for row in CHOSEN if row.origin == "Flower"]
REQUIRED = {"QFedAvg": {"client_learning_rate": 0.1}}
NEITHER = {"Strategy", "Result"}
"""What Flower exports beside strategies."""


def named(row: Row) -> str:
    return row.name


def made(row: Row, **arguments: object) -> object:
    table = {"name": row.name.lower(), **REQUIRED.get(row.name, {}), **arguments}
    return choose(table, source="coordinator.toml")


def test_every_strategy_of_flower_has_a_row() -> None:
    theirs = {row.name for row in TABLE if row.origin == "Flower"}
    assert theirs == set(flower.__all__) - NEITHER


@pytest.mark.parametrize("row", FLOWERS, ids=named)
def test_every_argument_of_flower_is_ours_by_its_name_and_default_or_is_told_elsewhere(
    row: Row,
) -> None:
    strategy = made(row)
    for name, parameter in inspect.signature(getattr(flower, row.name)).parameters.items():
        if name in ELSEWHERE:
            assert not hasattr(strategy, name)
        elif parameter.default is inspect.Parameter.empty:
            assert name in REQUIRED[row.name]
        else:
            assert getattr(strategy, name) == parameter.default, name


@pytest.mark.parametrize("row", CHOSEN, ids=named)
def test_a_name_may_be_written_in_any_case(row: Row) -> None:
    assert type(made(row)) is row.kind
    assert type(choose({"name": row.name, **REQUIRED.get(row.name, {})}, source="f")) is row.kind


@given(st.sampled_from(CHOSEN), SEEDS)
def test_those_with_a_state_have_one_and_no_others(row: Row, seed: int) -> None:
    assert row.kind is not None
    strategy = row.kind(**REQUIRED.get(row.name, {}))
    vectors = draw(seed, 5)
    zero = np.zeros(SIZE, np.float32)
    merged = strategy.merge(zero, updates(vectors, bases=[zero] * 5), {})
    assert bool(merged.state) == row.state


@given(st.sampled_from(CHOSEN), SEEDS)
def test_the_order_in_which_updates_come_does_not_matter(row: Row, seed: int) -> None:
    assert row.kind is not None
    if row.name == "FedAsync":
        return  # one after the other, by age and then by key: see its own tests
    strategy = row.kind(**REQUIRED.get(row.name, {}))
    zero, vectors = np.zeros(SIZE, np.float32), draw(seed, 5)
    forth, back = (
        strategy.merge(zero, updates(one, examples=counts), {}).vector
        for one, counts in ((vectors, [1, 2, 3, 4, 5]), (vectors[::-1], [5, 4, 3, 2, 1]))
    )
    np.testing.assert_allclose(forth, back, atol=1e-5)


@pytest.mark.parametrize("row", REFUSED, ids=named)
def test_what_is_refused_is_refused_with_its_reason(row: Row) -> None:
    with pytest.raises(SettingsError) as caught:
        made(row)
    assert row.reason in str(caught.value)
    assert "it may be fedavg, fedprox" in str(caught.value)


@pytest.mark.parametrize("name", ["fedagv", 7, None])
def test_an_unknown_name_is_refused_with_all_that_are_known(name: object) -> None:
    with pytest.raises(SettingsError, match=r"f: strategy.name: .* fedtrimmedavg, krum"):
        choose({"name": name}, source="f")


def test_an_unknown_argument_is_named_with_those_that_are_allowed() -> None:
    with pytest.raises(SettingsError) as caught:
        choose({"name": "fedadam", "etha": 1.0, "beta1": 0.5}, source="f")
    first, second = str(caught.value).splitlines()
    assert first == (
        "f: strategy.etha: there is no such argument; FedAdam takes eta, beta_1, beta_2, tau"
    )
    assert "strategy.beta1" in second


def test_an_argument_that_has_another_name_here_is_told_by_it() -> None:
    with pytest.raises(SettingsError, match=r"strategy.fraction_train: .* federation.fraction;"):
        choose({"name": "fedavg", "fraction_train": 0.5}, source="f")


def test_an_argument_of_a_wrong_kind_or_size_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        choose({"name": "fedadam", "eta": "fast", "beta_1": 1.5}, source="f")
    assert re.search(r"eta: .*`float`.*\n.*beta_1: .*< 1", str(caught.value))
    assert "FedAdam takes eta, beta_1, beta_2, tau" in str(caught.value)


def test_arguments_arrive() -> None:
    chosen = choose({"name": "FedProx", "proximal_mu": 0.3, "budget": "2min"}, source="f")
    assert isinstance(chosen, FedProx)
    assert (chosen.proximal_mu, chosen.budget) == (0.3, 120_000)


def test_a_model_of_statistics_takes_no_other_strategy() -> None:
    refuse_unfit(FedAdam(), tiny().manifest)
    refuse_unfit(choose({"name": "fedavg"}, source="f"), statistics_model())
    with pytest.raises(UnsupportedError, match=r"merge exactly \(sum\)"):
        refuse_unfit(FedAdam(), statistics_model())


def test_the_guide_has_the_table() -> None:
    guide = Path(__file__).parents[3] / "docs" / "strategies.md"
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", guide.read_text(), flags=re.MULTILINE))
    assert rows == {row.name: _support(row) for row in TABLE}


def _support(row: Row) -> str:
    if row.kind is None:
        return "refused" if row.origin == "Flower" else "always"
    return "with state" if row.state else "yes"
