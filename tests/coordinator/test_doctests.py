"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["backoff", "excerpt", "gate", "limits", "link", "pulse"])
def test_the_examples_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"headwater_coordinator.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
