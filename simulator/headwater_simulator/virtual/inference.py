"""Inference of many devices in one call.

Devices that run the same weights have their windows put one after the other. Those that have
weights of their own are members of the inference graph stacked over devices, filled up with windows
of NaN to equally many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.errors import UnsupportedError
from headwater_agent.events import Floats, Infer, Inferred, Model
from headwater_models.arrays import Arrays
from headwater_models.graphs.serialisation import decode
from headwater_models.graphs.stack import stack
from headwater_models.session import OpenGraph, Predictor, Times
from headwater_simulator.virtual.cohort import stacked
from headwater_simulator.virtual.training import MEMBERS, Tally

SHARED = 4
"""From so many devices with the same weights on they run unstacked, their windows in one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """Windows that one model of one device is to predict."""

    effect: int
    model: Model
    windows: Floats
    times: Times
    parameters: Arrays


class FleetPredictor:
    """The inference graph of all devices.

    Parameters
    ----------
    infer
        The bytes of ``infer.onnx``.
    tally
        Counts what was done.
    threads
        Within one operator.
    one_by_one
        Never stack: each device predicts alone.
    """

    def __init__(
        self, infer: bytes, tally: Tally, *, threads: int = 1, one_by_one: bool = False
    ) -> None:
        self._tally = tally
        self._one_by_one = one_by_one
        self.alone = Predictor(infer, threads)
        self._stacked = None if one_by_one else _open(infer, threads)

    def infer(self, effects: Sequence[Infer]) -> list[Inferred]:
        """Run what each asks for; the answers are in the order of the effects."""
        found: list[dict[Model, Floats]] = [{} for _ in effects]
        wanted = [
            _Wanted(i, model, effect.windows.values, effect.windows.times, parameters)
            for i, effect in enumerate(effects)
            for model, parameters in effect.parameters.items()
        ]
        for one, made in self._run(wanted):
            found[one.effect][one.model] = made
        return [
            Inferred(effect.windows, outputs)
            for effect, outputs in zip(effects, found, strict=True)
        ]

    def _run(self, wanted: Sequence[_Wanted]) -> Iterator[tuple[_Wanted, Floats]]:
        by_weights: dict[int, list[_Wanted]] = {}
        for one in wanted:
            by_weights.setdefault(id(one.parameters), []).append(one)
        own: list[_Wanted] = []
        for alike in by_weights.values():
            if self._one_by_one:
                yield from (pair for one in alike for pair in self._batched([one]))
            elif len(alike) >= SHARED or self._stacked is None:
                yield from self._batched(alike)
            else:
                own += alike
        for start in range(0, len(own), MEMBERS):
            yield from self._together(own[start : start + MEMBERS])

    def _batched(self, alike: Sequence[_Wanted]) -> Iterator[tuple[_Wanted, Floats]]:
        """Run devices with the same weights as one batch."""
        if self._stacked is None:
            self._tally.looped += len(alike)
        else:
            self._tally.stacked += len(alike)
        windows = np.concatenate([one.windows for one in alike])
        times = np.concatenate([one.times for one in alike])
        made = self.alone.run(windows, times, alike[0].parameters)
        start = 0
        for one in alike:
            yield one, made[start : start + len(one.times)]
            start += len(one.times)

    def _together(self, members: Sequence[_Wanted]) -> Iterator[tuple[_Wanted, Floats]]:
        if self._stacked is None or len(members) == 1:
            yield from (pair for one in members for pair in self._batched([one]))
            return
        self._tally.stacked += len(members)
        most = max(len(one.times) for one in members)
        shape = members[0].windows.shape[1:]
        windows = np.full((len(members), most, *shape), np.nan, np.float32)
        times = np.zeros((len(members), most), np.int64)
        for i, one in enumerate(members):
            windows[i, : len(one.times)], times[i, : len(one.times)] = one.windows, one.times
        parameters = stacked([one.parameters for one in members])
        feeds = {"window": windows, "time": times, **parameters}
        made = self._stacked.run(feeds, ["prediction"])[0]
        for i, one in enumerate(members):
            yield one, made[i, : len(one.times)]


def _open(infer: bytes, threads: int) -> OpenGraph | None:
    """Return the graph of many devices; None where an operator of it cannot be stacked."""
    try:
        graph = stack(infer, decode(infer).inputs)
    except UnsupportedError:
        return None
    return OpenGraph("infer.onnx", graph, threads, windows=("[M, N, T, C]",))
