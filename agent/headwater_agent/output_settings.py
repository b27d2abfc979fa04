"""Where what the agent says goes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where predictions, alarms and the retained status go; the names in braces are filled.

    A message holds one prediction (``single``), or an array of those that are made of a stream
    together (``array``), which costs broker and readers less where a stream is fast.
    """

    topic: str = "headwater/{device}/{stream}/prediction"
    alarm: str = "headwater/{device}/{stream}/alarm"
    status: str = "headwater/{device}/status"
    qos: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1
    retain: bool = False
    payload: Literal["single", "array"] = "single"
