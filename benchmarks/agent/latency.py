"""From publishing a record to receiving its prediction, beside clients that only echo."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.agent.load import Effort, Figures
from benchmarks.agent.sides import AGENT, CannotRunError
from benchmarks.agent.stage import Trace, stage
from benchmarks.report import Figure

RATE = 100
PEERS = ("echo", "echo_onnx", "echo_c", "naive_script")
PERCENTILES = (50, 99)


def measure(model: Path, effort: Effort, missing: dict[str, str]) -> Figures:
    """Return the percentiles over all turns; who cannot run is added to *missing*."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(effort.turns):
        for side in (AGENT, *PEERS):
            if side in missing:
                continue
            try:
                with stage(model) as place, place.side(side, 0) as running:
                    running.warm()
                    found[side] += latencies(running.stream(RATE, effort.seconds))
            except CannotRunError as error:
                if side == AGENT:
                    raise
                missing[side] = str(error)
    figures: Figures = {}
    for percentile in PERCENTILES:
        each = {side: float(np.percentile(times, percentile)) for side, times in found.items()}
        figures |= beside_echo(f"latency_p{percentile}", each)
    return figures


def beside_echo(name: str, each: dict[str, float]) -> Figures:
    """Return one percentile in milliseconds, and as multiples of the echo client's.

    Ours, and that of the client that does no more than echo and run the model.
    """
    milliseconds = {side: 1000 * seconds for side, seconds in each.items()}
    ours, echo = milliseconds.pop(AGENT), milliseconds["echo"]
    figures: Figures = {
        name: Figure(ours=ours, peers=milliseconds, ratio=echo / ours, unit="ms", better="lower"),
        f"{name}_vs_echo": ours / echo,
    }
    if "echo_onnx" in milliseconds:
        figures[f"{name}_echo_onnx_vs_echo"] = milliseconds["echo_onnx"] / echo
    return figures


def latencies(trace: Trace) -> list[float]:
    """Return the seconds from sending each record to its first answer, matched by event time."""
    came: dict[int, float] = {}
    for moment, payload in trace.came:
        came.setdefault(event_time(payload), moment)
    sent = ((event_time(payload), moment) for moment, payload in trace.sent)
    return [came[time] - moment for time, moment in sent if time in came]


def event_time(payload: bytes) -> int:
    """Return what a payload says of its time, in milliseconds since 1970."""
    time: int | str = json.loads(payload)["time"]
    if isinstance(time, int):
        return time
    return round(1000 * datetime.fromisoformat(time).timestamp())
