"""Generated sensor streams: level, trend, two seasons, autocorrelated noise, and drift.

A channel is ``level + trend * days + amplitude * (sin(day) + sin(second season) / 2) + noise``.
Device and channel have a level and an amplitude of their own; a channel has the same phase on all
devices. Every row follows from (seed, device, row), so a stretch costs what it is long, wherever
it lies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from headwater.settings import Duration
from headwater_models.graphs.scaling import Scaling
from headwater_models.manifest import Channel, Grid
from headwater_simulator.scenario.settings import DAY, Drift, Group, Series
from headwater_simulator.sources.noise import BLOCK, DRIFT, MISSING, TRAITS, Chance, Noise
from headwater_simulator.sources.source import Facts, Floats, Rows, reserve

SECOND = 0.5
"""The second season's amplitude, as a share of the first one's."""

BEYOND = 8.0
"""Deviations of the noise that a sensor can report beyond what is certain."""

GAP = 24
"""Periods of silence that end a window."""

TURN = 2 * np.pi

Weights = NDArray[np.float64]


class GeneratedStreams:
    """The streams of a fleet.

    Parameters
    ----------
    settings
        What they are like.
    groups
        The groups of devices, which say who drifts.
    length
        Of the scenario: what a trend comes to.
    window
        Rows of the model's window.
    seed
        Of everything that is drawn.
    """

    def __init__(
        self,
        settings: Series,
        groups: Sequence[Group],
        *,
        length: Duration,
        window: int,
        seed: int,
    ) -> None:
        self.facts = _facts(settings, length, window)
        self.label_delay = settings.label_delay
        self._settings = settings
        self._ends = list(accumulate(group.devices for group in groups))
        self._drifts = [_of_group(settings.drifts, group) for group in groups]
        self._chance = Chance(seed)
        self._noise = Noise(self._chance, settings.channels, settings.memory)
        self._phases = _phases(settings.channels)
        self._steady: tuple[int, Weights] = (-1, np.zeros((0, 6)))
        """The block that was asked for last, and its course without drift: as for most devices."""

    def rows(self, device: int, first: int, count: int) -> Rows:
        """Return a stretch of a device; its stream has no end."""
        before = first % BLOCK
        blocks = range(first // BLOCK, -(-(first + count) // BLOCK))
        values = np.concatenate([self._block(device, block) for block in blocks])
        values = values[before : before + count]
        if not self._settings.label_delay:
            return Rows(first, values)
        return Rows(first, np.ascontiguousarray(values[:, 1:]), values[:, 0].copy())

    def _block(self, device: int, block: int) -> Floats:
        settings = self._settings
        course, shift = self._course(device, block)
        made = course @ self._traits(device)
        made += settings.noise * self._noise.block(device, block)
        if shift is not None:
            made += shift[:, None]
        values = made.astype(np.float32)
        if settings.missing:
            drawn = self._chance.at(device, MISSING, block).random(values.shape, np.float32)
            values[drawn < settings.missing] = np.nan
        return values

    def _traits(self, device: int) -> Weights:
        """Return what each channel of a device makes of the course, ``[6, C]``."""
        settings = self._settings
        drawn = self._chance.at(device, TRAITS, 0).uniform(-1, 1, (2, settings.channels))
        level, amplitude = settings.spread * drawn
        traits = np.empty((6, settings.channels))
        traits[0] = level * (settings.amplitude + settings.noise)
        traits[1] = settings.trend
        np.multiply(settings.amplitude * (1 + amplitude), self._phases, out=traits[2:])
        return traits

    def _course(self, device: int, block: int) -> tuple[Weights, Weights | None]:
        """Return what time does in a block, ``[BLOCK, 6]``, and by how much the level drifted."""
        if self._steady[0] != block:
            self._steady = block, self._over_time(block, None)
        drifts = self._drifts[bisect_right(self._ends, device)] if self._drifts else ()
        until = (block + 1) * BLOCK * self._settings.period
        begun = [(index, drift) for index, drift in drifts if drift.at < until]
        if not begun:
            return self._steady[1], None
        times = self._times(block)
        moved = {"level": np.zeros(BLOCK), "season": np.zeros(BLOCK)}
        for index, drift in begun:
            chance = self._chance.at(device, DRIFT + index, block)
            moved[drift.what] += drift.size * progress(drift, times, chance)
        turned = moved["season"].any()
        course = self._over_time(block, moved["season"]) if turned else self._steady[1]
        return course, np.asarray(self._settings.noise * moved["level"])

    def _over_time(self, block: int, turned: Weights | None) -> Weights:
        """Return ones, days, and sine and cosine of both seasons, ``[BLOCK, 6]``."""
        times = self._times(block)
        seasons = [times / int(self._settings.season), times / int(self._settings.second_season)]
        if turned is not None:
            seasons[0] += turned
        waves = [wave(TURN * (season % 1)) for season in seasons for wave in (np.sin, np.cos)]
        return np.column_stack([np.ones(BLOCK), times / int(DAY), *waves])

    def _times(self, block: int) -> Weights:
        """Return milliseconds from the scenario's beginning, ``[BLOCK]``."""
        rows = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.float64)
        return rows * int(self._settings.period)


def progress(drift: Drift, times: Weights, chance: np.random.Generator) -> Weights:
    """Return how far a drift has come at each time, from 0 to 1.

    Parameters
    ----------
    drift
        Its kind, beginning and duration.
    times
        Milliseconds from the scenario's beginning.
    chance
        Says for a gradual drift whose turn it is.
    """
    if drift.kind == "sudden":
        return np.asarray(times >= drift.at, np.float64)
    since = (times - drift.at) / drift.over
    match drift.kind:
        case "gradual":
            return np.asarray(chance.random(len(times)) < since, np.float64)
        case "incremental":
            return np.clip(since, 0.0, 1.0)
        case "recurring":
            return np.asarray((since >= 0) & (np.floor(since) % 2 == 0), np.float64)


def _phases(channels: int) -> Weights:
    """Return how much of sine and cosine of either season is in each channel, ``[4, C]``.

    Each channel lags a little behind the one before it, by a quarter of the season over all.
    """
    angles = TURN / 4 * np.arange(channels) / channels
    waves = np.stack([np.cos(angles), -np.sin(angles)])
    return np.concatenate([waves, SECOND * waves])


def _of_group(drifts: Sequence[Drift], group: Group) -> list[tuple[int, Drift]]:
    return [(i, d) for i, d in enumerate(drifts) if not d.groups or group.name in d.groups]


def _facts(settings: Series, length: Duration, window: int) -> Facts:
    channel, mean, deviation = _channel(settings, length)
    names = [f"channel-{index}" for index in range(settings.channels)]
    outside = settings.label_delay > 0
    seen = names[1:] if outside else names
    return Facts(
        task="regression" if outside else "forecast",
        channels=tuple(Channel(name=name, minimum=channel[0], maximum=channel[1]) for name in seen),
        grid=Grid(period=settings.period, max_gap=Duration(GAP * settings.period)),
        reserve=reserve(settings.period, window, settings.horizon),
        loss="mse" if outside else "mae",
        target="" if outside else names[0],
        horizon=settings.horizon,
        scaling=Scaling(
            mean=(mean,) * len(seen),
            scale=(deviation,) * len(seen),
            label_mean=mean,
            label_scale=deviation,
        ),
    )


def _channel(settings: Series, length: Duration) -> tuple[tuple[float, float], float, float]:
    """Return the range of a channel, and its mean and deviation over all devices.

    Mean and deviation are those before any drift and at the trend's beginning, as of a model that
    was made beforehand; the range has room for both.
    """
    varies = settings.spread**2 / 3
    level = varies * (settings.amplitude + settings.noise) ** 2
    season = settings.amplitude**2 * (1 + varies) * (1 + SECOND**2) / 2
    deviation = float(np.sqrt(level + season + settings.noise**2))
    reach = settings.spread * (settings.amplitude + settings.noise)
    reach += settings.amplitude * (1 + settings.spread) * (1 + SECOND) + BEYOND * settings.noise
    shifts = [settings.noise * d.size for d in settings.drifts if d.what == "level"]
    shifts.append(settings.trend * length / DAY)
    low = -reach + sum(min(shift, 0.0) for shift in shifts)
    high = reach + sum(max(shift, 0.0) for shift in shifts)
    return (low, high), 0.0, deviation
