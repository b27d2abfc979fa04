"""Run ``headwater`` with a wall clock that is wrong by what a file says, in milliseconds.

``python shifted.py FILE agent run ...``. Nothing else changes: durations come from the monotonic
clock, and whoever asks for the time asks :func:`headwater.clock.now_ms`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headwater import clock

_told = clock.now_ms
_shift = Path(sys.argv.pop(1))


def _shifted_ms() -> int:
    return _told() + int(_shift.read_text())


clock.now_ms = _shifted_ms

if __name__ == "__main__":
    from headwater.cli import main

    main()
