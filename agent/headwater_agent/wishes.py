"""What an owner asks of the pipeline, each in an event of its own."""

from __future__ import annotations

from dataclasses import dataclass

from headwater_agent.events import Record


@dataclass(frozen=True, slots=True)
class Pause:
    """Learning pauses, or goes on: what is predicted meanwhile is held back."""

    on: bool


@dataclass(frozen=True, slots=True)
class Forget:
    """Personal model and contribution begin again from the release, without the examples."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The sensor of a stream was replaced: what was before says nothing about what comes."""

    stream: str


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """What is known of a stream's past: its state is made anew of it, and nothing is published.

    ``records`` are in the order of their time, up to the newest that is known. ``labels`` are what
    a baseline learns from, in their order. Of the rows that follow, those before ``until`` (UTC
    milliseconds) are stored; the others are there already.
    """

    stream: str
    records: tuple[Record, ...]
    labels: tuple[float, ...]
    until: int


Wish = Pause | Forget | Reset | Warm
