"""What sensors measured and laboratories found, as messages over MQTT."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from headwater_agent.events import Arrived
from headwater_simulator.live.configuring import LABELS, fields
from headwater_simulator.sources.source import Facts


def payloads(arrived: Arrived, facts: Facts, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield the topic and the JSON of each record, and then of each label.

    Parameters
    ----------
    arrived
        What came, of streams that are called like their devices.
    prefix
        First level of all topics.
    """
    names = fields(facts)
    for record in arrived.records:
        values = [float(value) if np.isfinite(value) else None for value in record.values]
        said = {"time": record.time, **dict(zip(names, values, strict=True))}
        yield f"{prefix}/{record.stream}", msgspec.json.encode(said)
    for label in arrived.labels:
        said = {"time": label.time, "label": label.value}
        yield f"{prefix}/{LABELS}/{label.stream}", msgspec.json.encode(said)
