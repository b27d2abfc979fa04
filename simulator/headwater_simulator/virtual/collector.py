"""Python's cyclic collector, told that a run makes many objects and hardly a cycle."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 100_000
"""Objects that are made, and kept, before the collector looks at them. A message is three or four
of them, so what a cycle could keep meanwhile is some tens of megabytes."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Leave what is there already to itself, and look at what is new less often than usual.

    Who had frozen objects before keeps them frozen.
    """
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.freeze()
    gc.set_threshold(YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not frozen:
            gc.unfreeze()
