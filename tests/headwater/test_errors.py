"""Errors: a tree by remedy, each leaf with an exit code of its own."""

from __future__ import annotations

import inspect

from headwater import errors
from headwater.errors import HeadwaterError

TREE = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, HeadwaterError)
]


def test_exit_codes_are_never_used_twice() -> None:
    codes = [each.exit_code for each in TREE]
    assert len(set(codes)) == len(codes)


def test_exit_codes_leave_the_shells_own_alone() -> None:
    assert {each.exit_code for each in TREE} == {1, 3, 4, 5, 6, 7, 8, 9, 10}


def test_the_tree_that_is_drawn_is_the_tree_there_is() -> None:
    assert errors.__doc__ is not None
    drawn = [line.split()[1] for line in errors.__doc__.splitlines() if "── " in line]
    assert sorted(["HeadwaterError", *drawn]) == sorted(each.__name__ for each in TREE)


def test_every_error_says_who_must_act() -> None:
    assert all(each.__doc__ for each in TREE)
