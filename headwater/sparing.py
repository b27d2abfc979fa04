"""An import that passes without its module, where a library loads what is never used of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def spared(name: str) -> Iterator[None]:
    """Let the import of a module pass meanwhile; who imports it later gets it.

    An empty module stands in its place, which whoever imports it meanwhile keeps.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]
