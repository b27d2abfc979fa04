"""Strategies: how the updates of a merge become a candidate.

One table (:mod:`.table`) has them by name; :func:`.table.choose` makes one from the settings. Those
of Flower go by its names and arguments: server optimisers run in Flower's own classes, rules that
are sums or work by coordinate are written here so that a merge needs not hold all updates, and
tests hold them against Flower's.
"""

from headwater_coordinator.strategies.averaging import FedProx
from headwater_coordinator.strategies.exact import merge_statistics
from headwater_coordinator.strategies.strategy import (
    Merged,
    State,
    Strategy,
    decode_state,
    encode_state,
    moved,
)
from headwater_coordinator.strategies.table import choose, refuse_unfit
from headwater_coordinator.strategies.updates import About, Floats, Source, Updates

__all__ = [
    "About",
    "FedProx",
    "Floats",
    "Merged",
    "Source",
    "State",
    "Strategy",
    "Updates",
    "choose",
    "decode_state",
    "encode_state",
    "merge_statistics",
    "moved",
    "refuse_unfit",
]
