"""The books: rounds, versions, updates, refusals and devices; one process writes them.

What the core promised is written before anything else happens, each effect in one transaction.
The schema watches over it too: an update is pending, superseded or in one version, a device has
one pending update, a sequence number has one release.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Self

from headwater.errors import StorageError
from headwater_coordinator import events as e
from headwater_coordinator.contributions import Contributions
from headwater_coordinator.decisions import BY_GATE, GATE, Decisions, Ruling
from headwater_coordinator.devices import Devices
from headwater_coordinator.engines import open_writer
from headwater_coordinator.gate import Decision
from headwater_coordinator.history import read_past
from headwater_coordinator.location import Location
from headwater_coordinator.migrations import migrate
from headwater_coordinator.pending import reading
from headwater_coordinator.quarantine import Bounds, Held, Quarantine
from headwater_coordinator.receipts import Booked, Receipts
from headwater_coordinator.rounds import Rounds
from headwater_coordinator.state import Device, Pending, State, Version
from headwater_coordinator.states import Remembered, States
from headwater_coordinator.strategies import Floats, Updates
from headwater_coordinator.versions import Versions


class Database:
    """The coordinator's books.

    Parameters
    ----------
    location
        Where they lie; they are made when they are not there.

    Raises
    ------
    StorageError
        When they cannot be opened, are no database, are newer than this program, or another
        process writes them.
    """

    def __init__(self, location: Location) -> None:
        self._engine = open_writer(location)
        try:
            migrate(self._engine)
        except BaseException:
            self._engine.close()
            raise
        self.contributions = Contributions(self._engine)
        self.quarantine = Quarantine(self._engine)
        self.states = States(self._engine)
        self.rounds = Rounds(self._engine)
        self.versions = Versions(self._engine)
        self._decisions = Decisions(self._engine)
        self._receipts = Receipts(self._engine)
        self._devices = Devices(self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the books."""
        self._engine.close()

    # Reading

    def load(self) -> State:
        """Restore what the core knew.

        Raises
        ------
        StorageError
            When there is no release: the folder was never initialised.
        """
        released = self.versions.of("release")
        if not released:
            raise StorageError(
                f"{self._engine.name} has no release; run `headwater coordinator init` again "
                "elsewhere."
            )
        candidates = self.versions.of("candidate")
        ((last,),) = self._engine.execute("SELECT max(round) FROM rounds")
        return State(
            release=released[-1],
            candidate=candidates[0] if candidates else None,
            devices={device.node: device for device in self._devices.all()},
            pending={update.node: update for update in self._pending()},
            sequences={version.name: version.sequence for version in released},
            round=last or 0,
            erased=self.contributions.erased(),
            past=read_past(self._engine),
        )

    def reading(
        self,
        updates: Sequence[Pending],
        size: int,
        *,
        staleness: Callable[[str], int],
        packed: Callable[[str], Floats],
    ) -> AbstractContextManager[Updates]:
        """Read pending updates where they lie; see :func:`.pending.reading`."""
        return reading(self._engine, updates, size, staleness=staleness, packed=packed)

    # Writing

    def begin(self, version: Version, now: int) -> None:
        """Enter the first release, which the bundle brought.

        Raises
        ------
        StorageError
            When there is one already.
        """
        if self.versions.of("release"):
            raise StorageError(f"{self._engine.name} holds books already; name an empty database.")
        with self._engine.transaction():
            self.versions.enter(version, "release", 0, (), now)
            self._decisions.about_version("begin", version, Ruling("the owner"), now)

    def note(self, device: Device) -> None:
        """Keep what is known of a device."""
        with self._engine.transaction():
            self._devices.keep(device)

    def receive(self, effect: e.Receive, now: int) -> None:
        """Keep what a device is to be given a receipt for; forget what it has receipts for."""
        with self._engine.transaction():
            self._receipts.received(effect, now)

    def receipts_for(self, node: str, ask: str) -> list[Booked]:
        """Return what a device is owed receipts for, to go out with *ask*."""
        with self._engine.transaction():
            return self._receipts.owed(node, ask)

    def accept(
        self,
        effect: e.Accept,
        now: int,
        holds_for: str | None = None,
        *,
        ruling: Ruling = BY_GATE,
    ) -> None:
        """Keep an update; the device's pending one is superseded.

        Statistics, with the backbone that they hold for, replace the device's contribution; there
        is nothing else of such an update to be merged. That an update was let in from quarantine
        is noted with the *ruling*.
        """
        update, pending = effect.update, effect.pending
        vector = b"" if holds_for else effect.vector.astype("<f4").tobytes()
        with self._engine.transaction():
            self._supersede(pending.node)
            self.quarantine.accepted(pending.node, update.sequence)
            if effect.refusal is not None:
                about = _about_held(ruling, update.sequence, effect.refusal)
                self._decisions.about_device("accept", pending.node, about, now)
            if holds_for:
                self.contributions.keep(effect, holds_for, now)
            self._engine.insert(
                "updates",
                {
                    "node": pending.node,
                    "device": update.device,
                    "base": update.base,
                    "sequence": update.sequence,
                    "round": effect.round,
                    "examples": update.examples,
                    "weight": pending.weight,
                    "loss_before": update.loss_before,
                    "loss_after": update.loss_after,
                    "data_until_ms": update.data_until_ms,
                    "received_ms": now,
                    "state": "accepted",
                    "vector": vector,
                    "norm": effect.norm,
                },
            )

    def erase(self, node: str, ruling: Ruling, now: int) -> None:
        """Remove a device's contribution and pending update, from the disk too."""
        with self._engine.transaction():
            self._supersede(node)
            self.quarantine.erase(node)
            self.contributions.erase(node)
            self._decisions.about_device("forget", node, ruling, now)
        self._engine.purge()

    def readmit(self, node: str, ruling: Ruling, now: int) -> None:
        """Let a device contribute again."""
        with self._engine.transaction():
            self.contributions.readmit(node)
            self._decisions.about_device("readmit", node, ruling, now)

    def group(self, device: Device, ruling: Ruling, now: int) -> None:
        """Keep which group a device belongs to."""
        about = Ruling(ruling.by, f"{device.group or 'no group'}: {ruling.words}")
        with self._engine.transaction():
            self._devices.keep(device)
            self._decisions.about_device("group", device.node, about, now)

    def refuse(self, effect: e.Refuse, now: int, bounds: Bounds) -> None:
        """Record a refusal, and keep the update that is held, within *bounds*."""
        with self._engine.transaction():
            self.quarantine.refuse(effect, now, bounds)

    def drop_held(self, refusal: int, held: Held, ruling: Ruling, now: int) -> None:
        """Keep an update in quarantine no longer, by a person's word."""
        with self._engine.transaction():
            self.quarantine.drop(refusal)
            about = _about_held(ruling, held.sequence, refusal)
            self._decisions.about_device("drop", held.node, about, now)

    def merged(
        self,
        effect: e.Merge,
        candidate: Version,
        shares: Sequence[int],
        *,
        remembered: Remembered,
        new: bool,
        took_ms: int = 0,
        now: int,
    ) -> None:
        """Enter a candidate and settle the updates in it, in one transaction.

        When the merge gave the release itself (not ``new``) the updates are in that.

        Parameters
        ----------
        shares
            Of how many examples each contributor's share is.
        remembered
            By the strategy.
        took_ms
            How long the merge took.
        """
        with self._engine.transaction():
            self.rounds.merged(effect.round, took_ms)
            if new:
                self.versions.enter(candidate, "candidate", effect.round, shares, now)
            self.states.keep(candidate.name, remembered)
            self._settle(effect, candidate.name)

    def returned(
        self, effect: e.Merge, version: Version, remembered: Remembered, now: int
    ) -> dict[str, int]:
        """Make an older release the newest, as a merge gave it again; return whose it contains."""
        words = f"rolled back to: what is left of round {effect.round} gives it again"
        with self._engine.transaction():
            self.states.keep(version.name, remembered)
            self._return(version, Ruling(GATE, words), now)
            self._settle(effect, version.name)
        return self._contained(version.name)

    def rolled_back(self, version: Version, ruling: Ruling, now: int) -> dict[str, int]:
        """Make an older release the newest by its owner's word; return whose it contains."""
        with self._engine.transaction():
            self._return(version, ruling, now)
        return self._contained(version.name)

    def renewed(self, statement: str, ruling: Ruling, now: int) -> None:
        """Note that the publisher's *statement* about who may sign is in force no more."""
        with self._engine.transaction():
            self._decisions.about_keys(statement, ruling, now)

    def drop(self, effect: e.Merge) -> None:
        """Settle updates from which no candidate follows."""
        with self._engine.transaction():
            for update in effect.updates:
                self._supersede(update.node)
            self.contributions.merged()

    def release(
        self, version: Version, decision: Decision, now: int, *, by: str = GATE
    ) -> dict[str, int]:
        """Turn the candidate into the release; return whose updates it contains."""
        with self._engine.transaction():
            self.versions.decide(version, "release", decision, now)
            self._decisions.about_version("release", version, Ruling(by, decision.words), now)
            self.states.keep_only(version.name)
        return self._contained(version.name)

    def reject(self, version: Version, decision: Decision, now: int, *, by: str = GATE) -> None:
        """Keep the candidate as refused."""
        with self._engine.transaction():
            self.versions.decide(version, "refused", decision, now)
            self._decisions.about_version("reject", version, Ruling(by, decision.words), now)
            self.states.forget(version.name)

    def restored(self, versions: Sequence[Version], ruling: Ruling, now: int) -> None:
        """Give the release, and a candidate after it, their numbers after a restore."""
        with self._engine.transaction():
            for one in versions:
                self.versions.renumber(one)
            self._decisions.about_version("rollback", versions[0], ruling, now)
            self._receipts.go_on_after(versions[0].sequence)

    # Rows

    def _pending(self) -> list[Pending]:
        query = (
            "SELECT node, base, sequence, weight, data_until_ms FROM updates "
            "WHERE state = 'accepted'"
        )
        return [Pending(*row) for row in self._engine.execute(query)]

    def _supersede(self, node: str) -> None:
        self._engine.execute(
            "UPDATE updates SET state = 'superseded', vector = NULL "
            "WHERE node = ? AND state = 'accepted'",
            (node,),
        )

    def _settle(self, effect: e.Merge, version: str) -> None:
        self._engine.execute_many(
            "UPDATE updates SET state = 'merged', merged_in = ?, vector = NULL "
            "WHERE node = ? AND sequence = ? AND state = 'accepted'",
            [(version, update.node, update.sequence) for update in effect.updates],
        )
        self._engine.update("rounds", ("round", effect.round), {"candidate": version})
        self.contributions.merged()

    def _contained(self, version: str) -> dict[str, int]:
        """Return the highest sequence of each device's updates that are in a version.

        It contains what the versions contain that it was made from; 0 where there is none.
        """
        query = """
            WITH RECURSIVE line (version) AS (
                SELECT version FROM versions WHERE version = ?
                UNION SELECT parent FROM versions JOIN line USING (version)
            )
            SELECT node, coalesce(
                max(sequence) FILTER (WHERE merged_in IN (SELECT version FROM line)), 0
            )
            FROM updates GROUP BY node
        """
        return dict(self._engine.execute(query, (version,)))

    def _return(self, version: Version, ruling: Ruling, now: int) -> None:
        """Make an older release the newest."""
        self.states.keep_only(version.name)
        self.versions.bring_back(version, ruling.words, now)
        self._decisions.about_version("rollback", version, ruling, now)


def _about_held(ruling: Ruling, sequence: int, refusal: int) -> Ruling:
    """Say which update in quarantine a ruling is about."""
    words = f"update {sequence or 'unread'}, in quarantine under {refusal}"
    return Ruling(ruling.by, f"{words}: {ruling.words}")
