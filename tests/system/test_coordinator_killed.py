"""kill -9 of ServerApp, SuperLink or the whole coordinator, at random moments: the books balance.

Five kills, or as many as ``HEADWATER_COORDINATOR_KILLS`` says; ``make kills`` is the fifty. And
an outage that Flower's lease of a run (about a minute) does not outlive.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater_coordinator.engines import open_reader
from headwater_coordinator.home import Home
from headwater_coordinator.lock import holder
from headwater_coordinator.registry import Registry
from headwater_models.bundle import Bundle
from tests.coordinator.devices import Floats, Sent, SimulatedDevice
from tests.system.test_coordinator import Served, connected, eventually

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("HEADWATER_COORDINATOR_KILLS", "5"))
OUTAGE_S = float(os.environ.get("HEADWATER_OUTAGE_S", "90"))

Key = tuple[str, int]
"""A device's name and the number of its update."""

Row = tuple[str, str | None]
"""Where an accepted update stands: its state, and the version that it is merged in."""


class Witness:
    """What devices sent, told apart from what the coordinator's books say of it.

    Every update is another vector, so that a version which lacks one, or has one twice, is another
    version. Each judge finds a candidate better four times out of five, whatever it is.
    """

    def __init__(self, chance: random.Random) -> None:
        self._noise = np.random.default_rng(chance.randrange(2**32))
        self._chance = chance
        self.sent: dict[Key, Floats] = {}

    def overhears(self, reply: wire.Reply, vector: Floats | None) -> Sent:
        """Keep what is sent, and let a device's updates differ and its judgement waver."""
        if isinstance(reply, wire.Update) and vector is not None:
            vector = vector + self._noise.normal(0, 0.1, vector.shape).astype(np.float32)
            self.sent[reply.device, reply.sequence] = vector
        if isinstance(reply, wire.Evaluated):
            difference = -0.1 if self._chance.random() < 0.8 else 0.1
            reply = msgspec.structs.replace(
                reply,
                loss_candidate=1 + difference,
                loss_release=1.0,
                difference_mean=difference,
            )
        return reply, vector


class Auditor:
    """Looks at the books again and again, and at the weights of every version that is new.

    Parameters
    ----------
    home, bundle
        The coordinator's folder and model.
    witness
        Of what devices sent.
    """

    def __init__(self, home: Home, bundle: Bundle, witness: Witness) -> None:
        self._home = home
        self._registry = Registry(home.versions, bundle.manifest)
        self._witness = witness
        self._before: dict[Key, Row] = {}
        self._released: list[tuple[int, str]] = []
        self.checked: set[str] = set()

    def audit(self) -> Counter[str]:
        """Compare with what was seen before and with what was sent; count updates by state."""
        with closing(open_reader(self._home.books)) as books:
            rows = books.execute("SELECT device, sequence, state, merged_in FROM updates")
            versions = books.execute("SELECT version, parent FROM versions WHERE round > 0")
            released = books.execute(
                "SELECT sequence, version FROM versions WHERE kind = 'release' ORDER BY sequence"
            )
        now: dict[Key, Row] = {(device, number): (s, m) for device, number, s, m in rows}
        assert len(now) == len(rows), "an update is in the books twice"
        assert now.keys() <= self._witness.sent.keys(), "the books have what nobody sent"
        self._nothing_was_lost(now)
        assert released[: len(self._released)] == self._released, "a release was undone"
        for version, parent in versions:
            if version not in self.checked:
                members = [key for key, (_, merged_in) in now.items() if merged_in == version]
                self._has_each_once(version, parent, members)
        self._before, self._released = now, released
        return Counter(state for state, _ in now.values())

    def _nothing_was_lost(self, now: dict[Key, Row]) -> None:
        """What was accepted stays, and what was settled stays as it is."""
        for key, before in self._before.items():
            assert key in now, f"{key} was accepted and is gone"
            assert before[0] == "accepted" or now[key] == before, f"{key} was settled twice"

    def _has_each_once(self, version: str, parent: str, members: list[Key]) -> None:
        """Hold a version against its parent plus the mean of the updates in it."""
        assert members, f"version {version} has no updates"
        self.checked.add(version)
        step = np.mean([self._witness.sent[key] for key in members], axis=0)
        expected = self._registry.packed(parent) + step
        np.testing.assert_allclose(self._registry.packed(version), expected, atol=1e-5)


class Killer:
    """Strikes one part or several of a coordinator."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.killed: Counter[str] = Counter()

    def strike(self, what: str) -> None:
        """Kill; a part that is not there at this moment was hit before and is not counted."""
        parts: dict[str, list[int | None]] = {
            "ServerApp": [self.serverapp()],
            "SuperLink": [self.superlink()],
            "both": [self.serverapp(), self.superlink()],
            "coordinator": [self._served.process.pid],
        }
        found = [pid for pid in parts[what] if pid is not None]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if found:
            self.killed[what] += 1
        if what == "coordinator":
            self._served.process.wait()
            eventually(lambda: self._served.relatives() == [], "its parts end with it", 30)
            self._served.start()

    def serverapp(self) -> int | None:
        """Return the ServerApp's process, where there is one."""
        return holder(self._served.home.lock)

    def superlink(self) -> int | None:
        """Return the SuperLink's process, where there is one."""
        for pid in self._served.relatives():
            with suppress(OSError):
                if b"flower-superlink" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(10**6)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    coordinator = Served(tmp_path)
    coordinator.start()
    yield coordinator
    if coordinator.process.poll() is None:
        coordinator.stop()


def fleet(served: Served, witness: Witness, count: int) -> list[SimulatedDevice]:
    return [served.device(f"d{n}", 1.0, witness.overhears) for n in range(count)]


def releases_reach(devices: list[SimulatedDevice], above: int) -> bool:
    return all(d.releases and d.releases[-1].sequence > above for d in devices)


def test_the_books_balance_after_kills_at_random_moments(served: Served, seed: int) -> None:
    chance = random.Random(seed)
    witness = Witness(chance)
    devices = fleet(served, witness, 3)
    auditor, killer = Auditor(served.home, served.bundle, witness), Killer(served)
    victims = ["ServerApp", "SuperLink", "both", "coordinator"]
    began = time.monotonic()
    with connected(served, *devices):
        eventually(lambda: served.status.releases >= 2, f"a release (seed {seed})")
        while sum(killer.killed.values()) < KILLS:
            rounds = served.status.rounds
            killer.strike(victims[sum(killer.killed.values()) % 4])
            counts = auditor.audit()
            print(f"{sum(killer.killed.values())} kills, {dict(counts)}", flush=True)
            if chance.random() < 0.75:
                eventually(lambda n=rounds: served.status.rounds > n, f"rounds go on (seed {seed})")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 4))
        newest = served.status.sequence
        eventually(lambda: releases_reach(devices, newest), f"releases reach all (seed {seed})")
        assert served.stop() == 0
    counts = auditor.audit()
    accepted = sum(counts.values())
    assert accepted == counts["merged"] + counts["accepted"] + counts["superseded"]
    assert counts["merged"] > 0
    assert auditor.checked, "versions were held against what was sent"
    print(
        f"\n{dict(killer.killed)} in {time.monotonic() - began:.0f} s (seed {seed}): "
        f"{len(witness.sent)} updates sent, {accepted} accepted = {counts['merged']} merged + "
        f"{counts['accepted']} pending + {counts['superseded']} superseded; "
        f"{len(auditor.checked)} versions hold each of theirs once, {served.status.releases} "
        f"releases, {served.status.rounds} rounds"
    )


def test_an_outage_longer_than_flowers_lease_is_survived(served: Served, seed: int) -> None:
    """The SuperLink is killed, and whoever would start it again stands still for as long."""
    witness = Witness(random.Random(seed))
    devices = fleet(served, witness, 2)
    auditor, killer = Auditor(served.home, served.bundle, witness), Killer(served)
    with connected(served, *devices):
        eventually(lambda: served.status.releases >= 2, "a release")
        served.process.send_signal(signal.SIGSTOP)
        superlink = killer.superlink()
        assert superlink is not None
        os.kill(superlink, signal.SIGKILL)
        time.sleep(OUTAGE_S)
        before = auditor.audit()
        served.process.send_signal(signal.SIGCONT)
        newest = served.status.sequence
        began = time.monotonic()
        eventually(lambda: releases_reach(devices, newest), "releases reach the devices", 150)
        print(
            f"\n{OUTAGE_S:g} s of outage, a release everywhere {time.monotonic() - began:.0f} s on"
        )
        assert auditor.audit()["merged"] > before["merged"]
        assert served.stop() == 0
