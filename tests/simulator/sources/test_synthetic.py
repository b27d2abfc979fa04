"""synthetic(alpha, beta) is that of the paper, and a device's data come out of its number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater_simulator.scenario.settings import Synthetic
from headwater_simulator.sources.synthetic import SyntheticTables

Numbers = np.ndarray[Any, Any]


def tables(seed: int = 1, **chosen: Any) -> SyntheticTables:
    return SyntheticTables(Synthetic(**chosen), seed=seed)


def rows(source: SyntheticTables, device: int) -> tuple[Numbers, Numbers]:
    found = source.holding(device)
    batches = (found.learned, found.reserved)
    inputs = np.concatenate([batch.window[:, 0] for batch in batches])
    return inputs, np.concatenate([batch.label[:, 0] for batch in batches])


def test_a_device_has_the_same_data_whenever_it_is_asked() -> None:
    one, other = tables(), tables()
    other.holding(9)
    for got, again in zip(rows(one, 3), rows(other, 3), strict=True):
        np.testing.assert_array_equal(got, again)
    assert not np.array_equal(rows(one, 3)[0][:50], rows(one, 4)[0][:50])
    assert not np.array_equal(rows(one, 3)[0][:50], rows(tables(seed=2), 3)[0][:50])


def test_sizes_are_log_normal_above_the_least() -> None:
    source = tables(features=1, sigma_log=1.0)
    sizes = np.array([len(rows(source, device)[1]) for device in range(400)]) - 50
    assert sizes.min() >= 0
    assert np.log(sizes[sizes > 0]).mean() == pytest.approx(4.0, abs=0.15)
    assert np.log(sizes[sizes > 0]).std() == pytest.approx(1.0, rel=0.1)


def test_rows_gives_all_the_same_number() -> None:
    source = tables(rows=80)
    assert {len(rows(source, device)[1]) for device in range(10)} == {80}


def test_the_variance_of_inputs_within_a_device_falls_with_their_number() -> None:
    inputs, _ = rows(tables(rows=20_000), 0)
    wanted = np.arange(1, 61) ** -1.2
    np.testing.assert_allclose(inputs.var(axis=0), wanted, rtol=0.1)


def test_beta_is_how_much_the_inputs_of_devices_lie_apart() -> None:
    for beta in (0.0, 2.0):
        source = tables(beta=beta, rows=100, features=20)
        centres = np.array([rows(source, device)[0].mean() for device in range(300)])
        assert centres.std() == pytest.approx(np.hypot(beta, 1 / np.sqrt(20)), rel=0.15)


def test_alpha_moves_all_classes_of_a_device_alike_so_that_its_labels_stay() -> None:
    for got, again in zip(rows(tables(alpha=0.0), 2), rows(tables(alpha=5.0), 2), strict=True):
        np.testing.assert_array_equal(got, again)


def test_a_line_parts_two_classes_for_there_is_no_noise_in_the_labels() -> None:
    source = tables(rows=300, features=2, classes=2)
    device = next(d for d in range(9) if 0.2 < rows(source, d)[1].mean() < 0.8)
    inputs, labels = rows(source, device)
    angles = np.linspace(0, 2 * np.pi, 20_000)
    along = inputs @ np.stack([np.cos(angles), np.sin(angles)])
    assert (along[labels == 0].max(axis=0) < along[labels == 1].min(axis=0)).any()


def test_iid_devices_have_one_model_and_inputs_around_zero() -> None:
    source = tables(iid=True, rows=4_000, features=5, classes=4)
    means = [rows(source, device)[0].mean(axis=0) for device in range(10)]
    assert np.abs(means).max() < 0.1
    parts = [np.bincount(rows(source, d)[1].astype(int), minlength=4) / 4_000 for d in range(10)]
    np.testing.assert_allclose(parts, np.mean(parts, axis=0)[None].repeat(10, 0), atol=0.04)


def test_devices_that_are_not_iid_have_other_classes() -> None:
    source = tables(rows=1_000, features=5, classes=4)
    parts = [np.bincount(rows(source, d)[1].astype(int), minlength=4) / 1_000 for d in range(10)]
    assert np.std(parts, axis=0).max() > 0.15


def test_a_model_reads_the_inputs_as_they_are_and_none_is_beyond_its_range() -> None:
    source = tables(beta=2.0)
    facts = source.facts
    assert facts.scaling is not None
    assert set(facts.scaling.mean) == {0.0}
    assert set(facts.scaling.scale) == {1.0}
    inputs = np.concatenate([rows(source, device)[0] for device in range(30)])
    assert (inputs <= [channel.maximum for channel in facts.channels]).all()
    assert (inputs >= [channel.minimum for channel in facts.channels]).all()
