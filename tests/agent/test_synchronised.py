from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater_agent.synchronised import Clock, clock_was_set


def test_the_kernel_gives_an_answer_to_anyone() -> None:
    assert clock_was_set() in (True, False)


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [(0, 0x2001, True), (5, 0x2041, False), (5, 0x40, False), (-1, 0, None)],
    ids=["kept right", "was kept right once", "never set", "a sandbox forbids it"],
)
def test_what_the_kernel_says_counts(
    tmp_path: Path, state: int, status: int, said: bool | None
) -> None:
    def adjtimex(timex: Any) -> int:
        timex.status = status
        return state

    assert clock_was_set(tmp_path / "synchronized", adjtimex) is said


def test_the_mark_of_timesyncd_holds_until_the_next_boot(tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    assert clock_was_set(tmp_path / "synchronized", lambda _: -1) is True


def answering(*answers: bool | None) -> Clock:
    left: Iterator[bool | None] = iter(answers)
    return Clock("synchronised", lambda: next(left))


def test_a_clock_that_was_not_set_yet_is_not_trusted_and_it_is_said_what_helps() -> None:
    clock = answering(False, False)
    assert not clock.is_right
    assert clock.complaint() == (
        'the clock is not synchronised yet; where no time service runs, clock = "trusted"'
    )


def test_once_right_a_clock_stays_right_though_the_network_goes_away() -> None:
    clock = answering(False, True)
    assert [clock.is_right for _ in range(4)] == [False, True, True, True]


def test_a_kernel_that_may_not_be_asked_is_named() -> None:
    assert "may not ask the kernel" in (answering(None).complaint() or "")


def test_a_trusted_clock_is_not_asked_about() -> None:
    def never() -> bool:
        raise AssertionError("it was asked")

    assert Clock("trusted", never).is_right
