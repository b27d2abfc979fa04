"""Memory that is free goes back to the system, which the C library alone puts off for long."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def trimmer(library: object | None = None) -> Callable[[], None]:
    """Return what gives free memory back: glibc's ``malloc_trim``; nothing where it is not.

    Parameters
    ----------
    library
        The C library; None: that of this process.
    """
    found = ctypes.CDLL(None) if library is None else library
    trim = getattr(found, "malloc_trim", None)

    def give_back() -> None:
        if trim is not None:
            trim(0)

    return give_back
