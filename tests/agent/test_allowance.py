from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headwater_agent.allowance import ASKED_EVERY_S, Allowance
from headwater_agent.federation_settings import Federation
from headwater_agent.settings import PASSWORD_VARIABLE
from headwater_agent.synchronised import Clock

TRUSTED = Clock("trusted")
UNSET = Clock("synchronised", lambda: False)


class Times:
    """A clock on the wall and one that only goes forward."""

    def __init__(self, hour: int) -> None:
        self.hour = hour
        self.seconds = 0.0

    def allowance(self, clock: Clock = TRUSTED, **settings: Any) -> Allowance:
        return Allowance(Federation(**settings), clock, self.local, lambda: self.seconds)

    def local(self) -> time.struct_time:
        return time.struct_time((2026, 10, 1, self.hour, 30, 0, 3, 274, 0))


def test_by_itself_a_device_may_federate_at_any_time() -> None:
    assert Times(12).allowance()() is None


def test_it_waits_until_the_clock_is_right() -> None:
    refusal = Times(12).allowance(UNSET)()
    assert refusal is not None
    assert "not synchronised" in refusal


def test_it_keeps_to_the_hours_of_the_wall_clock() -> None:
    times = Times(21)
    allowance = times.allowance(hours=("22:00-06:00", "12:00-12:30"))
    assert allowance() == "only at 22:00-06:00, 12:00-12:30 (local time)"
    times.hour = 22
    assert allowance() is None


def counting(folder: Path) -> tuple[str, ...]:
    """A command that counts its runs and allows while there is a file of the name ``mains``."""
    program = (
        "import os, sys\n"
        f"os.chdir({str(folder)!r}); open('runs', 'a').write('x')\n"
        "os.path.exists('mains') or sys.exit('on battery')"
    )
    return (sys.executable, "-c", program)


def test_the_owners_command_is_asked_now_and_then(tmp_path: Path) -> None:
    times = Times(12)
    allowance = times.allowance(allow=counting(tmp_path))
    assert [allowance(), allowance()] == ["on battery", "on battery"]
    (tmp_path / "mains").touch()
    times.seconds = ASKED_EVERY_S - 1
    assert allowance() == "on battery"
    times.seconds = ASKED_EVERY_S
    assert [allowance(), allowance()] == [None, None]
    assert (tmp_path / "runs").read_text() == "xx"


def test_the_command_is_not_run_where_the_hour_forbids_it_already(tmp_path: Path) -> None:
    assert Times(12).allowance(hours=("22:00-06:00",), allow=counting(tmp_path))() is not None
    assert not (tmp_path / "runs").exists()


def test_the_command_does_not_see_the_brokers_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    monkeypatch.setenv("SUPPLY", "mains")
    program = (
        f"import os; print(os.environ['SUPPLY'], '{PASSWORD_VARIABLE}' in os.environ); exit(1)"
    )
    assert Times(12).allowance(allow=(sys.executable, "-c", program))() == "mains False"


def test_while_the_owner_paused_it_nothing_else_is_asked(tmp_path: Path) -> None:
    times, paused = Times(12), True
    settings = Federation(allow=counting(tmp_path))
    allowance = Allowance(
        settings, TRUSTED, times.local, lambda: times.seconds, paused=lambda: paused
    )
    assert allowance() == "the owner paused it (headwater agent resume)"
    assert not (tmp_path / "runs").exists()
    paused = False
    assert allowance() == "on battery"
