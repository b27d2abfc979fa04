"""Group commit: one thread writes the store in groups, then gives the receipts back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from headwater.errors import HeadwaterError, StorageError
from headwater_agent import events
from headwater_agent.store import Entry, Store

MAX_WAITING = 10_000
"""Most entries that wait for the disk; then :meth:`StoreThread.put` waits too."""


class StoreThread:
    """Write entries in the order in which they came, many in one transaction.

    A group is committed when it is ``every_s`` old or holds the receipts of ``records``
    messages. Only then are its receipts handed back, so a crash redelivers and never loses.

    Parameters
    ----------
    store
        Used by this thread alone until :meth:`close`.
    every_s, records
        When a group is full: its age in seconds, its number of receipts.
    wake
        Called from the thread after each commit, and when one fails.
    """

    def __init__(
        self, store: Store, *, every_s: float, records: int, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._every_s = every_s
        self._records = records
        self._wake = wake
        self._changed = threading.Condition()
        self._waiting: list[Entry] = []
        self._unwritten = 0
        self._since = 0.0
        self._flush = False
        self._stop = False
        self._receipts: list[int] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Hand over an entry; waits while too many wait for the disk.

        Raises
        ------
        StorageError
            When an earlier group could not be written; nothing later is.
        """
        with self._changed:
            while len(self._waiting) >= MAX_WAITING and self._error is None:
                self._changed.wait()
            self._check()
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(entry)
            if isinstance(entry, events.Store):
                self._unwritten += len(entry.receipts)
            self._changed.notify_all()

    def flush(self) -> None:
        """Return once everything handed over so far is durable; raises as :meth:`put` does."""
        with self._changed:
            self._flush = True
            self._changed.notify_all()
            while self._flush and self._error is None:
                self._changed.wait()
            self._check()

    def committed(self) -> list[int]:
        """Return the receipts that became durable since the last call, in their order.

        Raises
        ------
        StorageError
            When a group could not be written.
        """
        with self._changed:
            self._check()
            receipts, self._receipts = self._receipts, []
        return receipts

    def close(self) -> None:
        """Write what waits and end the thread; raises as :meth:`put` does.

        The store stays open. A second call is fine.
        """
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise StorageError(f"The agent cannot go on: {self._error}") from self._error

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                self._store.write(group)
                self._hand_back(group)
        except HeadwaterError as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)
            raise

    def _next_group(self) -> list[Entry] | None:
        """Wait for a full group; None after :meth:`close`, when nothing waits."""
        with self._changed:
            while not self._full():
                if not self._waiting:
                    if self._stop:
                        return None
                    self._flush = False
                    self._changed.notify_all()
                    self._changed.wait()
                else:
                    self._changed.wait(max(0.0, self._since + self._every_s - time.monotonic()))
            group, self._waiting, self._unwritten = self._waiting, [], 0
            self._changed.notify_all()
            return group

    def _full(self) -> bool:
        if not self._waiting:
            return False
        old = time.monotonic() >= self._since + self._every_s
        return old or self._unwritten >= self._records or self._flush or self._stop

    def _hand_back(self, group: list[Entry]) -> None:
        with self._changed:
            for entry in group:
                if isinstance(entry, events.Store):
                    self._receipts.extend(entry.receipts)
        self._wake()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
        self._wake()
