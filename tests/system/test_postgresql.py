"""A coordinator whose books lie in PostgreSQL, and a server that dies under its feet.

Two deaths, or as many as ``HEADWATER_DATABASE_KILLS`` says. The first one lasts so long that a new
ServerApp finds no server.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater_coordinator.lock import holder
from tests.postgresql import PASSWORD, PostgresqlServer
from tests.system.test_coordinator import Served, connected, eventually
from tests.system.test_coordinator_killed import Auditor, Witness, fleet, releases_reach

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("HEADWATER_DATABASE_KILLS", "2"))
NO_SERVER = "cannot be used: connection failed"


@pytest.fixture
def served(
    tmp_path: Path, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """A coordinator that comes to its server over loopback, with a password."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    coordinator = Served(tmp_path, database=postgresql.loopback(postgresql.new_schema()))
    coordinator.start()
    yield coordinator
    if coordinator.process.poll() is None:
        coordinator.stop()


def test_the_books_balance_after_deaths_of_their_server_at_random_moments(
    served: Served, postgresql: PostgresqlServer
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    witness = Witness(chance)
    devices = fleet(served, witness, 3)
    auditor = Auditor(served.home, served.bundle, witness)
    log = served.home.logs / "serverapp.log"
    with connected(served, *devices):
        eventually(lambda: served.status.releases >= 2, f"a release (seed {seed})")
        for death in range(KILLS):
            rounds = served.status.rounds
            before = holder(served.home.lock)
            postgresql.kill()
            if death:
                time.sleep(chance.uniform(0, 6))
            else:
                eventually(lambda: NO_SERVER in log.read_text(), "a ServerApp finds no server")
            postgresql.start()
            print(dict(auditor.audit()), flush=True)
            eventually(
                lambda one=before: holder(served.home.lock) not in (None, one),  # type: ignore[misc]
                f"another ServerApp works (seed {seed})",
            )
            eventually(lambda n=rounds: served.status.rounds > n, f"rounds go on (seed {seed})")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 3))
        newest = served.status.sequence
        eventually(lambda: releases_reach(devices, newest), f"releases reach all (seed {seed})")
        assert served.stop() == 0
    counts = auditor.audit()
    assert sum(counts.values()) == counts["merged"] + counts["accepted"] + counts["superseded"]
    assert counts["merged"] > 0
    assert auditor.checked, "versions were held against what was sent"
    assert not served.home.database.exists()
    for path in (served.said, *served.home.logs.iterdir()):
        assert PASSWORD not in path.read_text(errors="replace"), path
    print(
        f"\n{KILLS} deaths (seed {seed}): {len(witness.sent)} updates sent, {dict(counts)}; "
        f"{len(auditor.checked)} versions hold each of theirs once"
    )
