from __future__ import annotations

import pytest

from headwater_coordinator import events as e
from headwater_coordinator.engines import Engine
from headwater_coordinator.rounds import Rounds

pytestmark = pytest.mark.both_engines


def test_a_round_is_opened_weighed_merged_and_closed(engine: Engine) -> None:
    rounds = Rounds(engine)
    rounds.open(e.Open(1, "base", 3), 10)
    rounds.weigh(e.Weigh("node", 1, 40))
    rounds.weigh(e.Weigh("node", 1, 2))
    rounds.merged(1, 7)
    rounds.close(e.Close(1, 4, 2, 1, 0, 1, "merged"), 30)
    rounds.interrupt(99)

    rows = engine.execute(
        "SELECT base, opened_ms, closed_ms, asked, accepted, refused, declined, failed, outcome, "
        "bytes, merge_ms FROM rounds"
    )
    assert rows == [("base", 10, 30, 4, 2, 1, 0, 1, "merged", 42, 7)]


def test_a_restart_closes_the_round_that_is_open(engine: Engine) -> None:
    rounds = Rounds(engine)
    rounds.open(e.Open(1, "base", 3), 10)
    rounds.interrupt(20)
    assert engine.execute("SELECT outcome, closed_ms FROM rounds") == [("interrupted", 20)]
