"""Each command is carried out, or nothing is changed, and whoever asked is told."""

from __future__ import annotations

import numpy as np
import pytest

from headwater import wire
from headwater.objects import Vector
from headwater_coordinator import events as e
from headwater_coordinator.federation.candidacy import Candidacy
from headwater_coordinator.federation.commands import Commands
from headwater_coordinator.federation.fleet import Fleet
from headwater_coordinator.settings import Gate, Rounds
from headwater_coordinator.state import Device, Pending, State, Version

FIRST, SECOND = "1" * 64, "2" * 64
UPDATE = wire.Update(
    task=FIRST, device="a", model=FIRST, base=SECOND, sequence=3, examples=10,
    loss_before=1.0, loss_after=0.5, data_until_ms=0,
)  # fmt: skip
ASKED = e.ReleaseAsked(7, "SHA256:a", 4, UPDATE, np.zeros(2, np.float32))


@pytest.fixture
def state() -> State:
    device = Device("SHA256:a", "a")
    return State(
        Version(SECOND, 2, FIRST, ""),
        devices={device.node: device},
        sequences={FIRST: 1, SECOND: 2},
    )


def answered(state: State, event: e.Command, *, statistics: bool = False) -> list[e.Effect]:
    rng = np.random.default_rng(0)
    fleet = Fleet(state, FIRST, Rounds(), rng, spare=False)

    def book(device: Device, update: wire.Update, vector: Vector, number: int) -> e.Accept:
        return e.Accept(update, Pending(device.node, update.base, 3, 10), vector, number)

    commands = Commands(
        state,
        fleet,
        Candidacy(state, fleet, FIRST, Gate()),
        statistics=statistics,
        max_staleness=0,
        book=book,
    )
    return list(commands.carry_out(event))


@pytest.mark.parametrize("statistics", [False, True])
def test_what_is_forgotten_is_out_of_what_is_pending(state: State, statistics: bool) -> None:
    state.pending["SHA256:a"] = Pending("SHA256:a", SECOND, 3, 10)
    erase, tell = answered(state, e.ErasureAsked("a"), statistics=statistics)
    assert erase == e.Erase("SHA256:a")
    assert isinstance(tell, e.Tell)
    assert tell.done
    assert (state.pending, state.erased) == ({}, statistics)


def test_a_group_is_given_once(state: State) -> None:
    group, tell = answered(state, e.Grouped("SHA256:a", "north"))
    assert group == e.Group(state.devices["SHA256:a"])
    assert tell == e.Tell(True, "a belongs to group north.")
    (tell,) = answered(state, e.Grouped("SHA256:a", "north"))
    assert tell == e.Tell(True, "a was there before; nothing changes.")
    assert state.groups(["a"]) == {"a": "north"}


def test_an_update_is_let_in_with_its_number_in_quarantine(state: State) -> None:
    accept, tell = answered(state, ASKED)
    assert isinstance(accept, e.Accept)
    assert (accept.refusal, accept.round) == (7, 4)
    assert isinstance(tell, e.Tell)
    assert tell.done


def test_an_update_of_an_older_release_is_not_let_in(state: State) -> None:
    state.sequences["3" * 64] = 3
    (tell,) = answered(state, ASKED)
    assert isinstance(tell, e.Tell)
    assert (tell.done, "its base is too old" in tell.words) == (False, True)


@pytest.mark.parametrize(
    "event",
    [
        e.ErasureAsked("nobody"),
        e.ReadmissionAsked("nobody"),
        e.RollbackAsked(SECOND, "it is the release"),
        e.RollbackAsked("3" * 64, "it never was"),
        e.CandidateDecided(FIRST, True, "none is open"),
    ],
)
def test_what_cannot_be_done_changes_nothing(state: State, event: e.Command) -> None:
    (tell,) = answered(state, event)
    assert isinstance(tell, e.Tell)
    assert not tell.done
