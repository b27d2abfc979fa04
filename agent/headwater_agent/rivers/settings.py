"""The table ``[learn.river]``: which of river's models learns on the device, and from what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

TABLE = "learn.river"
"""Where the settings stand, for messages."""

_DOTTED = re.compile(r"river(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*")


class RiverPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One object of river: its dotted name, its arguments, and the transformers before it.

    A value in ``arguments`` that is a dotted name below ``river.``, or a table with a ``model``,
    is a part as well; so is each entry of ``before``.
    """

    model: str
    arguments: dict[str, Any] = {}
    before: tuple[str | RiverPart, ...] = ()

    @property
    def steps(self) -> tuple[RiverPart, ...]:
        """The parts of ``before``, also where only their names are given."""
        return tuple(RiverPart(model=s) if isinstance(s, str) else s for s in self.before)


class RiverSettings(RiverPart, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A river model as the device's learner.

    ``inputs`` are the ``features`` that the bundle's graph makes of a window, or the ``channels``
    by name as they were measured: of the last ``rows`` rows, the earlier ones as ``name@1``,
    ``name@2`` and so on.
    """

    inputs: Literal["features", "channels"] = "features"
    rows: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1

    @property
    def fingerprint(self) -> str:
        """The same text for the same settings, whatever the order of their keys."""
        return msgspec.json.encode(self, order="deterministic").decode()


def find_complaints(settings: RiverSettings) -> Iterator[str]:
    """Yield what is wrong as ``path.of.key: what to do``; river is not imported for it."""
    yield from _part_complaints(settings, TABLE)
    if settings.inputs == "features" and settings.rows != 1:
        yield f'{TABLE}.rows: is for inputs = "channels"; features are of the whole window'


def as_part(value: object) -> RiverPart | None:
    """Read an argument as a part; None where it is another value.

    Raises
    ------
    msgspec.ValidationError
        When it is a table with a ``model`` and with keys that a part has not.
    """
    if isinstance(value, str) and value.startswith("river."):
        return RiverPart(model=value)
    if isinstance(value, dict) and isinstance(value.get("model"), str):
        return msgspec.convert(value, RiverPart)
    return None


def name_complaint(dotted: str) -> str | None:
    """Say what is wrong with a dotted name; None where it can be looked up."""
    if _DOTTED.fullmatch(dotted):
        return None
    return (
        f"{dotted!r} is no class below river; write a dotted name such as "
        "river.linear_model.LogisticRegression"
    )


def _part_complaints(part: RiverPart, path: str) -> Iterator[str]:
    complaint = name_complaint(part.model)
    if complaint:
        yield f"{path}.model: {complaint}"
    for number, step in enumerate(part.steps):
        yield from _part_complaints(step, f"{path}.before[{number}]")
    for name, value in part.arguments.items():
        yield from _value_complaints(value, f"{path}.arguments.{name}")


def _value_complaints(value: object, path: str) -> Iterator[str]:
    try:
        part = as_part(value)
    except msgspec.ValidationError as error:
        yield f"{path}: {error}"
        return
    if part is not None:
        yield from _part_complaints(part, path)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _value_complaints(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _value_complaints(item, f"{path}.{name}")
