"""Refusals, and the updates among them that are held back: kept, put back or dropped."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater import wire
from headwater_coordinator import events as e
from headwater_coordinator.engines import Engine

_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(wire.Update)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many updates are kept, and how many bytes of vectors."""

    count: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """An update in quarantine, with the round that it was asked for in.

    Of one that is malformed there is no more than this and its first bytes, which nothing reads:
    it has no ``update``, and an empty ``vector``.
    """

    node: str
    device: str
    sequence: int
    round: int
    update: wire.Update | None
    vector: NDArray[np.float32]


class Quarantine:
    """Two tables of the books; whoever calls holds the transaction.

    Parameters
    ----------
    engine
        The database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refuse(self, effect: e.Refuse, now: int, bounds: Bounds) -> None:
        """Record a refusal, and keep the update that is held.

        The oldest make room, and before any that is sound those that are malformed.
        """
        ((refusal,),) = self._engine.execute(
            "INSERT INTO refusals (time_ms, node, device, ask, kind, reason) "
            "VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            (now, effect.node, effect.device, effect.ask, effect.kind, effect.reason),
        )
        held = effect.held
        if held is None:
            return
        self._engine.insert(
            "quarantine", {"id": refusal, "node": effect.node, "round": held.round} | _columns(held)
        )
        self._engine.execute(
            "DELETE FROM quarantine WHERE id IN (SELECT id FROM (SELECT id, "
            "row_number() OVER (ORDER BY malformed, id DESC) AS place, "
            "sum(length(vector)) OVER (ORDER BY malformed, id DESC) AS so_far FROM quarantine) "
            "AS kept WHERE place > ? OR so_far > ?)",
            (bounds.count, bounds.nbytes),
        )

    def find(self, refusal: int) -> Held | None:
        """Return an update that is kept."""
        found = self._engine.execute(
            "SELECT quarantine.node, device, sequence, round, malformed, "
            '"update", vector FROM quarantine JOIN refusals USING (id) WHERE id = ?',
            (refusal,),
        )
        if not found:
            return None
        ((node, device, sequence, number, malformed, update, vector),) = found
        about = node, device, sequence, number
        if malformed:
            return Held(*about, None, np.zeros(0, np.float32))
        return Held(*about, _UNPACK.decode(update), np.frombuffer(vector, "<f4"))

    def drop(self, refusal: int) -> None:
        """Keep an update no longer; its refusal stays in the books."""
        self._engine.execute("DELETE FROM quarantine WHERE id = ?", (refusal,))

    def accepted(self, node: str, sequence: int) -> None:
        """Keep an update no longer that was accepted after all."""
        self._engine.execute(
            "DELETE FROM quarantine WHERE node = ? AND sequence = ? AND malformed = 0",
            (node, sequence),
        )

    def erase(self, node: str) -> None:
        """Keep nothing of a device."""
        self._engine.execute("DELETE FROM quarantine WHERE node = ?", (node,))


def _columns(held: e.Held | e.Malformed) -> dict[str, object]:
    """Return what is kept of an update, by its columns."""
    if isinstance(held, e.Malformed):
        excerpt = held.excerpt
        update, vector, nbytes = b"", excerpt.content, excerpt.nbytes
        sequence = held.sequence
    else:
        update, vector = _PACK.encode(held.update), held.vector.astype("<f4").tobytes()
        sequence, nbytes = held.update.sequence, len(vector)
    return {
        "sequence": sequence,
        '"update"': update,
        "vector": vector,
        "malformed": int(isinstance(held, e.Malformed)),
        "nbytes": nbytes,
    }
