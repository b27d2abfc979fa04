"""What came from a device, as an event: decoded and unpacked, or a failure in words."""

from __future__ import annotations

from typing import Literal

import numpy as np

from headwater import wire
from headwater.errors import PeerError
from headwater.objects import digest
from headwater_coordinator import events as e
from headwater_coordinator.excerpt import Excerpt
from headwater_coordinator.link import Arrival
from headwater_models.compression import decompress
from headwater_models.manifest import Manifest


def read_arrival(arrival: Arrival, manifest: Manifest) -> e.Replied | e.Failed:
    """Read an answer.

    Hash and size are those of what was sent, compressed or not; the vector is what it stands for.

    Parameters
    ----------
    arrival
        As the link gave it.
    manifest
        Of the model that a compressed update must fit.
    """
    if arrival.failure:
        kind: Literal["lost", "unreadable"] = "lost" if arrival.lost else "unreadable"
        return e.Failed(arrival.ask, arrival.failure, kind, arrival.excerpt)
    vector = arrival.vector
    try:
        reply = wire.decode_reply(arrival.fields)
        if vector is not None and vector.dtype == np.uint8:
            vector = decompress(vector, manifest)
    except PeerError as error:
        sent = () if vector is None else (vector,)
        excerpt = Excerpt.of(arrival.fields, *sent)
        return e.Failed(arrival.ask, str(error), "unreadable", excerpt)
    size = len(arrival.fields) + (0 if arrival.vector is None else arrival.vector.nbytes)
    return e.Replied(arrival.ask, reply, vector, digest(arrival.fields, arrival.vector), size)
