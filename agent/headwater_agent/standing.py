"""What every label changes, small enough to be stored with it: account, evidence and scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from headwater.errors import StorageError
from headwater_agent.scores import Score
from headwater_agent.served import Served

Encoded = tuple[str, bytes]
"""A stream's score, or under no name what is the device's; see :class:`.events.Store`."""


class _Own(msgspec.Struct):
    """What is the device's, over all of its streams."""

    served: Served
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What was stored; of the device None where it has judged nothing yet."""

    served: Served | None = None
    score: Score | None = None
    streams: dict[str, Score] = field(default_factory=dict)


def encode_own(served: Served, score: Score) -> Encoded:
    """Encode what is the device's."""
    return "", msgspec.msgpack.encode(_Own(served, score))


def encode_stream(name: str, score: Score) -> Encoded:
    """Encode what is of one stream."""
    return name, msgspec.msgpack.encode(score)


def read_standing(encoded: Iterable[Encoded]) -> Standing:
    """Decode what the store has.

    Raises
    ------
    StorageError
        When it is damaged, or of another program.
    """
    streams = dict(encoded)
    own = streams.pop("", None)
    try:
        mine = msgspec.msgpack.decode(own, type=_Own) if own is not None else None
        return Standing(
            served=mine.served if mine else None,
            score=mine.score if mine else None,
            streams={
                name: msgspec.msgpack.decode(state, type=Score) for name, state in streams.items()
            },
        )
    except msgspec.DecodeError as error:
        raise StorageError(
            f"The stored account of the served model is damaged ({error}); give the agent a new "
            "state folder."
        ) from error
