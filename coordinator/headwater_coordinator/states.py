"""What a strategy remembers, beside the version that it was remembered with."""

from __future__ import annotations

from dataclasses import dataclass

from headwater_coordinator.engines import Engine
from headwater_coordinator.strategies import State, decode_state, encode_state


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """A strategy, by name, and what it remembers."""

    strategy: str
    state: State


class States:
    """A table of the books; whoever calls holds the transaction.

    A candidate's state waits beside it. With a release every other state goes; with a refusal
    only the candidate's, so that the next merge goes on from what the release remembers.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, version: str, strategy: str) -> State:
        """Return what a strategy remembers at a version; nothing where another one made it."""
        query = "SELECT state FROM strategy_states WHERE version = ? AND strategy = ?"
        found = self._engine.execute(query, (version, strategy))
        return decode_state(found[0][0]) if found else {}

    def keep(self, version: str, remembered: Remembered) -> None:
        """Keep what a merge gave, in the place of what was there."""
        self.forget(version)
        if remembered.state:
            self._engine.execute(
                "INSERT INTO strategy_states VALUES (?, ?, ?)",
                (version, remembered.strategy, encode_state(remembered.state)),
            )

    def forget(self, version: str) -> None:
        """Forget what was remembered with a version."""
        self._engine.execute("DELETE FROM strategy_states WHERE version = ?", (version,))

    def keep_only(self, version: str) -> None:
        """Forget what was remembered with any other version."""
        self._engine.execute("DELETE FROM strategy_states WHERE version <> ?", (version,))
