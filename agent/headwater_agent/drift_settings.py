"""What is watched for drift, by which detectors, and what an alarm leads to: ``[drift]``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headwater.settings import Duration

Watched = Literal["error", "inputs", "estimate"]
"""The error of what was served, the channels, and the error that is expected before labels."""


class Adwin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ADWIN (Bifet and Gavaldà, 2007); ``delta`` is its significance."""

    enabled: bool = True
    delta: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.002


class PageHinkley(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Page-Hinkley (Page, 1954).

    ``delta`` is the change that does not matter and ``threshold`` the sum of changes beyond it
    that does, both in standard deviations of what is watched.
    """

    enabled: bool = True
    delta: Annotated[float, msgspec.Meta(ge=0)] = 0.25
    threshold: Annotated[float, msgspec.Meta(gt=0)] = 40.0


class Kswin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """KSWIN (Raab, Heusinger and Schleif, 2020): shape as well as mean, at 340 us a value.

    So it sees one value in ``every``; ``alpha`` is its significance.
    """

    enabled: bool = False
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 1e-4
    every: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 50


class Estimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the expected error of a stream raises an alarm; see :mod:`headwater_agent.estimate`.

    It is taken over ``chunk`` predictions, and is an alarm ``band`` standard deviations above the
    stream's earlier chunks.
    """

    chunk: Annotated[int, msgspec.Meta(ge=2, le=10**6)] = 200
    band: Annotated[float, msgspec.Meta(gt=0)] = 3.0


class React(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an alarm about one of ``to`` leads to, beside being told.

    ``learning_rate`` multiplies that of the personal model for its next ``steps`` steps (1: not at
    all); ``reset`` lets the personal model begin again from the release; ``retrain`` asks the
    coordinator for a round.
    """

    to: tuple[Watched, ...] = ("error",)
    learning_rate: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 1.0
    steps: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 100
    reset: bool = False
    retrain: bool = False


class DriftSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is watched for drift.

    The detectors see means of ``mean_of`` values, which takes out what repeats within so many and
    leaves little of the dependence between neighbours, for which no detector here is made.
    ``quiet`` is how long after an alarm the same quantity of the same stream raises no other; at
    most ``streams`` are watched.
    """

    enabled: bool = True
    watch: tuple[Watched, ...] = ("error", "inputs", "estimate")
    mean_of: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 24
    quiet: Duration = Duration(3_600_000)
    streams: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    adwin: Adwin = Adwin()
    page_hinkley: PageHinkley = PageHinkley()
    kswin: Kswin = Kswin()
    estimate: Estimate = Estimate()
    react: React = React()

    def watches(self, what: Watched) -> bool:
        """Say whether something is watched at all."""
        return self.enabled and what in self.watch
