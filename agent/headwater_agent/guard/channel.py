"""What is taken for true of one channel, and how surprising its next value is.

A move is measured from the newest *trusted* value. Standing still is no move, for a channel at rest
(no rain, a closed valve) tells nothing about how far it goes once it moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from headwater_agent.guard.sizes import BINS, ORDINARY_SHARE, MoveSizes
from headwater_agent.units import Conversion, other_units
from headwater_models.manifest import Manifest

ORDINARY = -math.log(ORDINARY_SHARE)
"""Surprise up to which a move is trusted at once."""

NEAR = 4.0
"""Surprise up to which a value confirms the doubted one before it."""

STANDING = 6
"""Repetitions after which a new level that does not move at all confirms itself."""

FEW = 8
"""Moves before any of them surprises."""

SHORTEST = 12
"""Repetitions of a value that are never a stuck sensor."""

_FAR = 64.0
"""Periods beyond which a longer silence allows no larger a move."""

Reference = Literal["trusted", "before", "doubted"]

_LONG_AGO = -(2**62)
_UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What is known of a channel beforehand.

    A working sensor reports from ``minimum`` to ``maximum``; the moves of one whose values have
    an order are watched. A move over n times ``period`` may be the root of n as large; after a
    silence over ``gap`` the channel begins anew (both in milliseconds). ``foreign`` are the units,
    other than its own, in which it might suddenly come, each as the conversion into its own.
    """

    minimum: float
    maximum: float
    period: int
    gap: int
    ordered: bool = True
    foreign: tuple[Conversion, ...] = ()

    @property
    def octave(self) -> int:
        """The binary exponent of the range."""
        return math.frexp(self.maximum - self.minimum)[1]


def sensors(manifest: Manifest) -> tuple[Sensor, ...]:
    """Return what a manifest says of each channel; the ranges are rounded as records are."""
    grid = manifest.grid
    return tuple(
        Sensor(
            minimum=float(np.float32(channel.minimum)),
            maximum=float(np.float32(channel.maximum)),
            period=int(grid.period),
            gap=int(grid.max_gap),
            ordered=not channel.categories,
            foreign=other_units(channel.unit),
        )
        for channel in manifest.channels
    )


class SavedChannel(msgspec.Struct, array_like=True):
    """What :meth:`ChannelMoves.save` gives."""

    sizes: bytes
    trusted: float
    trusted_at: int
    before: float
    far: float
    next_far: float
    doubted: float
    doubted_at: int
    seen: float
    run: int
    longest: int


class ChannelMoves:
    """The moves of one channel of one stream.

    What a *doubted* value was is decided by the one that follows it.

    Parameters
    ----------
    sensor
        What is known beforehand.

    Attributes
    ----------
    run
        How often the newest value was repeated.
    """

    __slots__ = (
        "_before",
        "_doubted",
        "_doubted_at",
        "_far",
        "_longest",
        "_next_far",
        "_octave",
        "_place",
        "_seen",
        "_sensor",
        "_short",
        "_sizes",
        "_trusted",
        "_trusted_at",
        "run",
    )

    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor
        self._octave = sensor.octave
        self._short = 1.5 * sensor.period
        self._sizes = MoveSizes()
        self._trusted = self._before = self._doubted = self._seen = math.nan
        self._far = self._next_far = math.nan
        self._trusted_at = self._doubted_at = _LONG_AGO
        self._place = _UNKNOWN
        self.run = self._longest = 0

    def is_late(self, time: int) -> bool:
        """Say whether the channel has spoken at this time or later already."""
        return time <= self._trusted_at or time <= self._doubted_at

    def is_stuck(self, factor: float) -> bool:
        """Say whether it used to move and now repeats itself *factor* times longer than ever."""
        run = self.run
        return run > SHORTEST and run > factor * self._longest and self._sizes.moves >= FEW

    def look(self, value: float, time: int, factor: float) -> float:
        """Return the surprise of a value, 0 where its move is ordinary or cannot be measured.

        *factor* is that of :meth:`is_stuck`.
        """
        if value == self._seen:
            self.run += 1
        else:
            self._end_run(factor)
            self._seen = value
        move, silence = value - self._trusted, time - self._trusted_at
        if move and silence < self._short:
            place = min(max(math.frexp(move)[1] - self._octave + BINS - 1, 1), BINS - 1)
        else:
            place = self._measure(move, silence)
        self._place = place
        sizes = self._sizes
        if place <= sizes.ordinary or sizes.moves < FEW:
            return 0.0
        surprise = self._surprise(move, silence)
        return surprise if surprise > ORDINARY else 0.0

    def evidence(self, since: Reference, value: float, time: int) -> float:
        """Return the evidence that the value last looked at continues the channel.

        Measured from the trusted value, from the trusted one before that, or from the doubted
        one; nothing speaks for a value that only repeats the doubted one. 0 where it cannot be
        measured.
        """
        if since == "trusted":
            place = self._place
        elif since == "before":
            place = self._measure(value - self._before, time - self._trusted_at)
        else:
            place = self._measure(value - self._doubted, time - self._doubted_at) or _UNKNOWN
        return 0.0 if place == _UNKNOWN else self._sizes.evidence(place)

    def trust(self, value: float, time: int) -> None:
        """Learn the move that was last looked at; the next one is measured from here."""
        if self._place >= 0:
            self._sizes.learn(self._place)
        self._before, self._trusted, self._trusted_at = self._trusted, value, time
        self._doubted = math.nan

    def compare(self, value: float) -> None:
        """Learn the move between this record and one far apart."""
        if not math.isnan(self._far):
            self._sizes.learn_far(self._measure(value - self._far, 0))

    def look_further_back(self) -> None:
        """Measure moves between records far apart from a later one than so far."""
        self._far, self._next_far = self._next_far, self._trusted

    def doubt(self, value: float, time: int) -> None:
        """Remember a value that does not follow from the trusted one."""
        self._doubted, self._doubted_at = value, time

    def confirms(self, value: float, time: int, surprise: float) -> bool:
        """Say whether a value shows that the doubted one before it was a new level.

        It must be near that one, and nearer than to the trusted one (*surprise*). To repeat it is
        not enough, until it did so for long: a broken sensor repeats itself, too.
        """
        if value == self._doubted:
            return self.run >= STANDING
        silence = time - self._doubted_at
        if math.isnan(self._doubted) or silence > self._sensor.gap:
            return False
        return self._surprise(value - self._doubted, silence) <= min(NEAR, surprise)

    def settle(self, value: float, time: int) -> None:
        """Take up the level that a value confirms, and learn the two moves that led to it."""
        levels = [(self._doubted, self._doubted_at), (value, time)]
        for to, at in levels:
            if not math.isnan(to):
                self._place = self._measure(to - self._trusted, at - self._trusted_at)
                self.trust(to, at)

    def comes_in_foreign_unit(self, value: float, time: int) -> bool:
        """Say whether a value continues the channel if it is taken in another unit.

        If so, the channel is followed in its own.
        """
        silence = time - self._trusted_at
        if self._sizes.moves < FEW or silence > self._sensor.gap:
            return False
        for convert in self._sensor.foreign:
            meant = convert(value)
            if self._surprise(meant - self._trusted, silence) <= ORDINARY:
                self._trusted, self._trusted_at = meant, time
                return True
        return False

    def fade(self) -> None:
        """Let what was learned so far count half."""
        self._sizes.fade()

    def save(self) -> SavedChannel:
        """Return everything that later decisions depend on."""
        return SavedChannel(
            sizes=self._sizes.save(),
            trusted=self._trusted,
            trusted_at=self._trusted_at,
            before=self._before,
            far=self._far,
            next_far=self._next_far,
            doubted=self._doubted,
            doubted_at=self._doubted_at,
            seen=self._seen,
            run=self.run,
            longest=self._longest,
        )

    def restore(self, saved: SavedChannel) -> None:
        """Go on where :meth:`save` was called.

        Raises
        ------
        ValueError
            When the counts are not as many as they must be.
        """
        self._sizes.restore(saved.sizes)
        self._trusted, self._trusted_at = saved.trusted, saved.trusted_at
        self._before, self._far, self._next_far = saved.before, saved.far, saved.next_far
        self._doubted, self._doubted_at = saved.doubted, saved.doubted_at
        self._seen, self.run, self._longest = saved.seen, saved.run, saved.longest

    def _measure(self, move: float, silence: int) -> int:
        """Return the bin of a move, 0 for none; ``_UNKNOWN`` where there is nothing to go by."""
        if move == 0.0:
            return 0
        if math.isnan(move) or silence > self._sensor.gap:
            return _UNKNOWN
        exponent = math.frexp(self._shorten(move, silence))[1]
        return min(max(exponent - self._octave + BINS - 1, 1), BINS - 1)

    def _shorten(self, move: float, silence: int) -> float:
        """Return how far a move over a silence would have gone in one period."""
        if silence < self._short:
            return move
        return move / math.sqrt(min(silence / self._sensor.period, _FAR))

    def _surprise(self, move: float, silence: int) -> float:
        """Return minus the logarithm of the share of moves that are at least so large."""
        found = self._measure(move, silence)
        if found <= 0:
            return 0.0
        return self._sizes.surprise(found, 2 * math.frexp(abs(self._shorten(move, silence)))[0] - 1)

    def _end_run(self, factor: float) -> None:
        """Remember how long a value was repeated; a run that was held for stuck only in part."""
        run = self.run
        if run > self._longest:
            self._longest = 2 * self._longest + SHORTEST if self.is_stuck(factor) else run
        self.run = 0
