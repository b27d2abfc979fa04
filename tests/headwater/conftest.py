"""Tests of the command set up logging; what others find is as it was before."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from headwater.logs import OURS


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)
