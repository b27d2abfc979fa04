from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from headwater_agent.rivers.dotted import version
from headwater_agent.rivers.engine import Engine
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.rivers.state import LAYOUT, OutdatedError
from tests.agent.rivers.bundles import bundle, settings

LINEAR = settings("river.linear_model.LinearRegression")
SCALED = settings(
    "river.linear_model.LinearRegression", before=["river.preprocessing.StandardScaler"]
)
ROWS = [{"f0": float(a), "f1": float(b)} for a, b in np.random.default_rng(0).normal(size=(40, 2))]


def engine(wanted: RiverSettings = LINEAR, *, learned: int = 0) -> Engine:
    made = Engine(wanted, bundle().manifest)
    made.learn(ROWS[:learned], [3 * row["f0"] - 1 for row in ROWS[:learned]], [1.0] * learned)
    return made


def saved(wanted: RiverSettings = LINEAR) -> bytes:
    state = engine(wanted, learned=30).save()
    assert state is not None
    return state


def changed(state: bytes, **fields: Any) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.decode(state) | fields)


@pytest.mark.parametrize("wanted", [LINEAR, SCALED])
def test_a_restored_model_predicts_bit_for_bit_the_same_and_learns_on_in_step(
    wanted: RiverSettings,
) -> None:
    one, other = engine(wanted, learned=30), engine(wanted)
    other.restore(saved(wanted))
    assert other.examples == 30
    assert one.predict(ROWS).tolist() == other.predict(ROWS).tolist()
    for model in (one, other):
        model.learn(ROWS[30:], [0.5] * 10, [1.0] * 10)
    assert one.predict(ROWS).tolist() == other.predict(ROWS).tolist()
    assert one.save() == other.save()


def test_a_state_names_its_layout_and_the_version_of_river() -> None:
    fields = msgspec.msgpack.decode(saved())
    assert (fields["layout"], fields["river"]) == (LAYOUT, version())


def test_a_state_of_another_river_is_gone_on_from_while_it_means_the_same() -> None:
    other = engine()
    other.restore(changed(saved(), river="0.22.0"))
    assert other.examples == 30


def test_a_state_of_another_river_that_means_something_else_is_refused() -> None:
    proof = msgspec.msgpack.decode(saved())["proof"]
    state = changed(saved(), river="0.22.0", proof=[[p + 1e-6 for p in row] for row in proof])
    with pytest.raises(
        OutdatedError, match=r"predicts otherwise with the numbers of river 0\.22\.0"
    ):
        engine().restore(state)


@pytest.mark.parametrize("layout", [0, LAYOUT + 1, None])
def test_a_state_of_another_layout_is_refused(layout: int | None) -> None:
    with pytest.raises(OutdatedError, match=f"it has layout {layout}"):
        engine().restore(changed(saved(), layout=layout))


def test_a_state_of_other_settings_is_refused() -> None:
    slower = settings("river.linear_model.LinearRegression", arguments={"intercept_lr": 0.001})
    with pytest.raises(OutdatedError, match="the settings have changed"):
        engine(slower).restore(saved())


def test_a_state_that_was_linear_is_no_start_for_a_model_that_is_not() -> None:
    with pytest.raises(OutdatedError, match="of a linear model"):
        engine(settings("river.tree.HoeffdingTreeRegressor")).restore(saved())


@pytest.mark.parametrize(
    "state", [b"", b"\xc1", saved()[:-9], changed(saved(), numbers=None), b"\x01"]
)
def test_a_damaged_state_is_refused(state: bytes) -> None:
    with pytest.raises(OutdatedError):
        engine().restore(state)


def test_numbers_that_do_not_fit_the_model_are_refused() -> None:
    numbers = msgspec.msgpack.decode(saved())["numbers"] | {"weights": [{}, {}]}
    with pytest.raises(OutdatedError, match="cannot read it"):
        engine().restore(changed(saved(), numbers=numbers))
