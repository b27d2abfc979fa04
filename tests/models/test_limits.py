"""Limits: every file that a bundle may hold has a bound."""

from __future__ import annotations

import pytest

from headwater_models.container import NAMES
from headwater_models.limits import Limits

LIMITS = Limits(graph=1, weights=2, text=3)


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("infer.onnx", 1),
        ("train.onnx", 1),
        ("weights.safetensors", 2),
        ("manifest.json", 3),
        ("model.sig.json", 3),
        ("version.json", 3),
        ("facts.json", 3),
    ],
)
def test_a_file_is_bounded_by_its_kind(name: str, bound: int) -> None:
    assert LIMITS.of(name) == bound
    assert name in NAMES


def test_no_file_may_be_larger_than_all_together() -> None:
    assert all(Limits().of(name) <= Limits().total for name in NAMES)
