from __future__ import annotations

import pytest

from headwater_coordinator.decisions import Decisions, Ruling
from headwater_coordinator.engines import Engine
from headwater_coordinator.state import Version

pytestmark = pytest.mark.both_engines


def test_every_statement_about_a_version_stays(engine: Engine) -> None:
    decisions = Decisions(engine)
    decisions.about_version("release", Version("a", 2, "b", "first"), Ruling("the gate"), 10)
    decisions.about_version("rollback", Version("a", 4, "b", "second"), Ruling("me", "why"), 20)
    decisions.about_device("forget", "SHA256:x", Ruling("me"), 30)
    found = engine.execute(
        "SELECT time_ms, kind, by, version, sequence, device, words, statement FROM decisions "
        "ORDER BY number"
    )
    assert found == [
        (10, "release", "the gate", "a", 2, "", "", "first"),
        (20, "rollback", "me", "a", 4, "", "why", "second"),
        (30, "forget", "me", "", 0, "SHA256:x", "", ""),
    ]
