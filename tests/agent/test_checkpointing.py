from __future__ import annotations

from headwater_agent.checkpointing import LONGEST_S, MANY, SHORTEST_S, Checkpointing


def begun() -> Checkpointing:
    """A run whose first checkpoint was made at 100 s, through example 7."""
    checkpoints = Checkpointing(7)
    assert checkpoints.due(100.0, 7)
    return checkpoints


def test_what_is_learned_slowly_is_stored_once_a_minute() -> None:
    checkpoints = begun()
    assert not checkpoints.due(100.0 + LONGEST_S - 1, 8)
    assert checkpoints.due(100.0 + LONGEST_S, 8)
    assert not checkpoints.due(100.0 + LONGEST_S, 8)


def test_much_that_was_learned_is_stored_sooner() -> None:
    checkpoints = begun()
    assert not checkpoints.due(100.0 + SHORTEST_S, 7 + MANY - 1)
    assert checkpoints.due(100.0 + SHORTEST_S, 7 + MANY)
    assert not checkpoints.due(100.0 + 2 * SHORTEST_S, 7 + 2 * MANY - 1)


def test_however_much_is_learned_the_disk_has_some_rest() -> None:
    assert not begun().due(100.0 + SHORTEST_S - 1, 7 + 100 * MANY)
