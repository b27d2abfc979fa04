"""Each kind of data opens, and a model can be built from the facts that it states."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater.errors import SettingsError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_simulator.scenario.settings import (
    DAY,
    HOUR,
    Air,
    Data,
    Fault,
    Group,
    Model,
    Replay,
    Scenario,
    Series,
    Synthetic,
    Table,
)
from headwater_simulator.sources.opening import open_source
from headwater_simulator.sources.source import Source, Streams, Tables


def opened(data: Data, window: int = 1, faults: tuple[Fault, ...] = ()) -> Source:
    return open_source(
        Scenario(
            length=DAY,
            data=data,
            faults=faults,
            model=Model(window=window),
            groups=(Group(name="all", devices=3),),
        )
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    numbers = np.random.default_rng(0).random((300, 3))
    rows = (f"{a},{b},{'yes' if c < 0.4 else 'no'}" for a, b, c in numbers.tolist())
    path.write_text("\n".join(["a,b,c", *rows]) + "\n")
    return path


def builds(source: Source, window: int) -> None:
    fields = msgspec.structs.asdict(source.facts)
    spec = ModelSpec(name="made", kind="mlp", hidden=(4,), window=window, **fields)
    build(spec, np.random.default_rng(0)).manifest.check()


@pytest.mark.parametrize("window", [1, 8])
def test_models_are_built_for_streams(file: Path, window: int) -> None:
    kinds = (
        Series(),
        Series(label_delay=DAY),
        Air(),
        Replay(files=(file,), period=HOUR, target="a", horizon=HOUR),
        Replay(files=(file,), period=HOUR, label="c"),
    )
    for data in kinds:
        source = opened(data, window)
        builds(source, window)
        assert isinstance(source, Streams)
        assert not isinstance(source, Tables)
        rows = source.rows(2, 5, 7)
        assert rows.values.shape == (7, len(source.facts.channels))
        assert rows.values.dtype == np.float32


def test_models_are_built_for_tables(file: Path) -> None:
    for data in (Table(files=(file,), label="c"), Synthetic()):
        source = opened(data)
        builds(source, 1)
        assert isinstance(source, Tables)
        assert not isinstance(source, Streams)
        found = source.holding(2)
        assert source.count(2) == len(found.learned.time)
        assert found.learned.window.shape[1:] == (1, len(source.facts.channels))


def test_a_channel_that_is_to_break_must_be_there() -> None:
    stuck = Fault(kind="stuck", start=HOUR, channel=2)
    crash = Fault(kind="crash", start=HOUR, channel=2)
    opened(Series(channels=3), faults=(stuck,))
    opened(Series(channels=2), faults=(crash,))
    for data in (Series(channels=2), Series(channels=3, label_delay=HOUR)):
        with pytest.raises(
            SettingsError, match=r"faults\[1\]\.channel: there is no channel 2; .*-1"
        ):
            opened(data, faults=(crash, stuck))
