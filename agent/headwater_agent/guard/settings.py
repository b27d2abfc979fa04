"""How strict the guard is: ``[guard]``."""

from __future__ import annotations

from typing import Annotated

import msgspec


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the guard keeps aside, and when learning pauses.

    ``cell`` is how surprising a value must be before it is marked: minus the natural logarithm of
    how often the channel moves so far. ``row`` is how far the evidence that a record belongs to
    its stream may fall below what is usual before all of it is marked, in nats. Smaller marks
    more. ``stuck`` is how many times longer than ever before a channel must repeat
    a value (0: never marked). Learning of a stream pauses once a share ``burst`` of its newest
    ``records`` had a mark, until as many without one followed.
    """

    enabled: bool = True
    cell: Annotated[float, msgspec.Meta(ge=4, le=50)] = 7.0
    row: Annotated[float, msgspec.Meta(ge=0, le=50)] = 3.0
    stuck: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 8.0
    burst: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    records: Annotated[int, msgspec.Meta(ge=2, le=256)] = 32
