from __future__ import annotations

import importlib
import sys

import pytest

from headwater.sparing import spared

NAME = "this_module_takes_long"


def test_what_is_spared_is_not_loaded_meanwhile() -> None:
    with spared(NAME):
        assert vars(importlib.import_module(NAME)).keys() == vars(type(sys)("x")).keys()


def test_later_it_is_imported_as_ever() -> None:
    with spared(NAME):
        pass
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(NAME)


def test_what_was_there_stays() -> None:
    with spared("json"):
        assert importlib.import_module("json") is sys.modules["json"]
        assert hasattr(sys.modules["json"], "loads")
    assert "json" in sys.modules


def test_an_error_leaves_no_stand_in() -> None:
    with pytest.raises(ZeroDivisionError), spared(NAME):
        raise ZeroDivisionError
    assert NAME not in sys.modules
