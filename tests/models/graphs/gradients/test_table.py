from __future__ import annotations

from headwater_models.graphs.gradients.table import rules
from tests.models.graphs.gradients import (
    test_activations,
    test_arithmetic,
    test_convolution,
    test_layout,
    test_normalisation,
    test_pooling,
    test_products,
    test_reductions,
    test_selection,
)

TESTED = (
    test_activations,
    test_arithmetic,
    test_convolution,
    test_layout,
    test_normalisation,
    test_pooling,
    test_products,
    test_reductions,
    test_selection,
)


def test_every_rule_is_judged_by_finite_differences_once() -> None:
    assert sorted(name for module in TESTED for name in module.CASES) == sorted(rules())
