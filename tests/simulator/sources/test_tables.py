"""Rows of files are dealt out once, whole, and each device holds the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater.errors import SettingsError
from headwater_simulator.scenario.settings import Table
from headwater_simulator.sources.tables import DealtTables


def write(folder: Path, rows: int = 600, label: str = "class") -> Path:
    """Rows whose first column numbers them, in a random order, so that it is a measurement."""
    rng = np.random.default_rng(0)
    number = rng.permutation(rows)
    kinds = np.array(["low", "mid", "high"])[number % 3] if label == "class" else number / 7
    lines = (f"{n},{n % 5},{k},s{n % 4}" for n, k in zip(number, kinds, strict=True))
    path = folder / "a.csv"
    path.write_text("\n".join(["number,rest,label,site", *lines]) + "\n")
    return path


def tables(path: Path, devices: int = 4, seed: int = 1, **chosen: Any) -> DealtTables:
    settings = Table(files=(path,), label="label", **chosen)
    return DealtTables(settings, devices=devices, seed=seed)


def numbers(source: DealtTables, device: int) -> np.ndarray[Any, Any]:
    found = source.holding(device)
    return np.concatenate([found.learned.window, found.reserved.window])[:, 0, 0]


def test_every_row_is_with_one_device_and_has_its_own_label(tmp_path: Path) -> None:
    source = tables(write(tmp_path))
    assert source.facts.classes == ("high", "low", "mid")
    everything = np.concatenate([numbers(source, device) for device in range(4)])
    assert sorted(everything.tolist()) == list(range(600))
    for device in range(4):
        batch = source.holding(device).learned
        codes = np.array([1, 2, 0])[batch.window[:, 0, 0].astype(int) % 3]
        np.testing.assert_array_equal(batch.label[:, 0], codes)


def test_a_device_holds_the_same_each_time_and_another_with_another_seed(tmp_path: Path) -> None:
    path = write(tmp_path)
    one, same, other = (numbers(tables(path, seed=seed), 2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert set(one.tolist()) != set(other.tolist())


def test_the_share_held_is_reserved(tmp_path: Path) -> None:
    found = tables(write(tmp_path), held=0.4).holding(0)
    assert (len(found.learned.time), len(found.reserved.time)) == (90, 60)


def test_clients_are_told_by_a_column_which_is_no_measurement(tmp_path: Path) -> None:
    source = tables(write(tmp_path), partition="client", client="site")
    assert [channel.name for channel in source.facts.channels] == ["number", "rest"]
    assert all(len(set((numbers(source, device) % 4).tolist())) == 1 for device in range(4))


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "9999,1,,s1\n")
    everything = np.concatenate([numbers(tables(path), device) for device in range(4)])
    assert len(everything) == 600


def test_numbers_are_a_regression_and_not_dealt_by_class(tmp_path: Path) -> None:
    path = write(tmp_path, label="number")
    source = tables(path)
    assert source.facts.task == "regression"
    assert source.holding(1).learned.label.dtype == np.float32
    with pytest.raises(SettingsError, match="choose iid, size or client"):
        tables(path, partition="dirichlet")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a\.csv has no column 'gone'"):
        tables(write(tmp_path), channels=("gone",))
