"""The latest contribution of statistics from each device: kept, replaced, read back, erased."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater_coordinator import events as e
from headwater_coordinator.engines import Engine


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """What one device has given: packed statistics, float64 ``[n]``, of so many examples."""

    node: str
    examples: int
    vector: NDArray[np.float64]


class Contributions:
    """A table of the books; whoever calls holds the transaction.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, effect: e.Accept, holds_for: str, now: int) -> None:
        """Keep a contribution in the place of the device's earlier one.

        Parameters
        ----------
        holds_for
            The backbone that it was gathered on (see :func:`.statistics.dependence`).
        """
        update = effect.update
        self._engine.upsert(
            "contributions",
            {
                "node": effect.pending.node,
                "device": update.device,
                "sequence": update.sequence,
                "holds_for": holds_for,
                "examples": update.examples,
                "received_ms": now,
                "statistics": effect.vector.astype("<f8").tobytes(),
            },
            key="node",
        )

    def holding_for(self, holds_for: str) -> Iterator[Contribution]:
        """Yield the contributions gathered on a backbone, in the order of the devices' keys."""
        nodes = "SELECT node FROM contributions WHERE holds_for = ? ORDER BY node"
        given = "SELECT examples, statistics FROM contributions WHERE node = ?"
        for (node,) in self._engine.execute(nodes, (holds_for,)):
            ((examples, blob),) = self._engine.execute(given, (node,))
            yield Contribution(node, examples, np.frombuffer(blob, "<f8").astype(np.float64))

    def erase(self, node: str) -> None:
        """Remove what a device has given, and ask it for nothing more."""
        found = self._engine.execute(
            "DELETE FROM contributions WHERE node = ? RETURNING node", (node,)
        )
        self._engine.execute(
            "UPDATE devices SET forgotten = 1, erased = ? WHERE node = ?", (len(found), node)
        )

    def readmit(self, node: str) -> None:
        """Let a device contribute again."""
        self._engine.execute("UPDATE devices SET forgotten = 0 WHERE node = ?", (node,))

    def merged(self) -> None:
        """Note that what was erased is in no candidate that is made from now on."""
        self._engine.execute("UPDATE devices SET erased = 0")

    def erased(self) -> bool:
        """Say whether something was erased and nothing was merged since."""
        return bool(self._engine.execute("SELECT 1 FROM devices WHERE erased > 0 LIMIT 1"))
