"""A new release under load: whether a record is lost, and how long predictions pause."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.agent.load import Effort, Figures
from benchmarks.agent.sides import AGENT, Place, settings_of
from benchmarks.agent.stage import Trace, stage
from benchmarks.agent.workload import RELEASE
from headwater.wire import Kind
from headwater_agent.correspondence import StoredTask, StoredVersion
from headwater_agent.exchange import Exchange
from headwater_agent.settings import AgentSettings
from headwater_models.bundle import FIRST_SEQUENCE, Bundle
from headwater_models.identity import version_id
from headwater_models.signing import sign_version
from headwater_models.weights import save_weights

RATE = 500

SHORTEST_S = 4.0
"""Seconds of a stream with a swap at least: the agent looks for a release each second."""

AROUND_S = 1.0
"""Seconds before the first prediction of the release in which a pause counts as the swap's."""


def measure(model: Path, effort: Effort, missing: dict[str, str]) -> Figures:
    """Return the longest pause of all turns around the swap and without one, QoS 1."""
    del missing
    turns = [_take_turn(model, effort.seconds) for _ in range(effort.turns)]
    return {
        "swap_pause_ms": 1000 * max(pause_of_swap(swapped) for _, swapped in turns),
        "swap_pause_ms_without_a_swap": 1000 * max(longest_pause(calm.came) for calm, _ in turns),
        "swap_lost": float(sum(swapped.lost for _, swapped in turns)),
    }


def _take_turn(model: Path, seconds: float) -> tuple[Trace, Trace]:
    """Stream without a swap, and then with one halfway."""
    with stage(model) as place, place.side(AGENT, 1) as running:
        running.warm()
        calm = running.stream(RATE, seconds)
        release = prepare(running.place)
        with ThreadPoolExecutor(1) as pool:  # the load goes on while it is written
            written: list[Future[None]] = []
            swapped = running.stream(
                RATE, max(seconds, SHORTEST_S), lambda: written.append(pool.submit(release))
            )
        written[0].result()
    return calm, swapped


def prepare(place: Place) -> Callable[[], None]:
    """Sign and store the weights of a next release; return what makes the agent aware of it.

    That is the federation client's record of having received it: the agent proves it again.
    """
    return release(settings_of(place)[1], FIRST_SEQUENCE + 1)


def release(settings: AgentSettings, sequence: int) -> Callable[[], None]:
    """Do so for an agent with these settings; the weights follow from the sequence."""
    bundle = Bundle.load(settings.bundle)
    change = np.float32(1 + 0.01 * (sequence - FIRST_SEQUENCE))
    weights = {name: array * change for name, array in bundle.weights.items()}
    name = version_id(bundle.manifest, bundle.model_id, weights)
    statement = sign_version(
        RELEASE, kind="release", model=bundle.model_id, version=name, sequence=sequence
    )
    (settings.exchange / "versions").mkdir(exist_ok=True)
    save_weights(settings.exchange / "versions" / f"{name}.safetensors", weights)
    task = StoredTask(
        task=f"{sequence:064x}", kind=Kind.RELEASE, fields=b"", flower=b"", received_ms=0
    )
    stored = StoredVersion(name, "release", sequence, statement, merged=0, received_ms=0)
    return lambda: Exchange(settings.exchange_db).keep(task, stored)


def pause_of_swap(trace: Trace) -> float:
    """Return the longest pause, in seconds, before the first prediction of the new version.

    Raises
    ------
    AssertionError
        When the version never changed.
    """
    versions = [json.loads(payload)["version"] for _, payload in trace.came]
    first = next((n for n, version in enumerate(versions) if version != versions[0]), None)
    assert first is not None, "the release never served"
    since = trace.came[first][0] - AROUND_S
    return longest_pause([came for came in trace.came[: first + 1] if came[0] >= since])


def longest_pause(came: Sequence[tuple[float, bytes]]) -> float:
    """Return the longest time between two answers, in seconds."""
    return max((after[0] - before[0] for before, after in pairwise(came)), default=0.0)
