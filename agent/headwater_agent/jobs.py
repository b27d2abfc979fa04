"""What a trainer does on this device: one process at a time, tried again if it dies."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.errors import PeerError
from headwater.wire import Declined, Train, decode_task
from headwater_agent import compressing
from headwater_agent.correspondence import StoredTask
from headwater_agent.events import Refine, Refined
from headwater_agent.exchange import ExchangeReader
from headwater_agent.outcome import SUFFIX, Outcome, find_outcomes, write_outcome
from headwater_agent.settings import AgentSettings
from headwater_models.arrays import packed_bytes
from headwater_models.manifest import Manifest
from headwater_models.weights import load_weights

if TYPE_CHECKING:
    import subprocess

ATTEMPTS = 3
"""How often a trainer is started for one task before the task is declined."""


class Jobs:
    """Starts a trainer for each waiting task, and for the personal model when that is due.

    Parameters
    ----------
    settings
        Where things lie.
    settings_file
        Handed to the trainer.
    manifest
        The model.
    begin
        ``begin(task, base)`` numbers an update and makes durable how far it reaches and what the
        personal model is now, before its trainer starts; each attempt is an update of its own.
    refined
        Called with what became of a refinement.

    Attributes
    ----------
    paused
        Whether the owner wants no task to be started.
    """

    def __init__(
        self,
        settings: AgentSettings,
        settings_file: Path,
        *,
        manifest: Manifest,
        begin: Callable[[str, str], int],
        refined: Callable[[Refined], None],
    ) -> None:
        self.paused = False
        self._settings = settings
        self._settings_file = settings_file
        self._manifest = manifest
        self._longest = packed_bytes(manifest)
        self._begin = begin
        self._refined = refined
        self._due: Refine | None = None
        self._refining: Refine | None = None
        self._exchange = ExchangeReader(settings.exchange_db)
        self._running: subprocess.Popen[bytes] | None = None
        self._attempts: Counter[str] = Counter()

    @property
    def pid(self) -> int | None:
        """Process id of the running trainer."""
        return self._running.pid if self._running is not None else None

    def poll(self) -> None:
        """Look after the running trainer, or start the next; cheap when there is nothing to do."""
        if self._running is not None and self._running.poll() is None:
            return
        ended, self._running = self._running, None
        if self._refining is not None and ended is not None:
            self._finish(self._refining, worked=ended.returncode == 0)
        if self._settings.federation.enabled and not self.paused:
            waiting = self._exchange.waiting()
            done = self._clear()
            for task in waiting:
                if task.task not in done:
                    self._start(task)
                    return
        if self._due is not None:
            self._refining, self._due = self._due, None
            self._run("--refine", self._refining.version)

    def refine(self, effect: Refine) -> None:
        """Let a trainer refine the personal model as soon as none is busy."""
        self._due = effect

    def stop(self) -> None:
        """End a running trainer; its task is started again with the next agent."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait()
            self._running = None

    def forget(self) -> None:
        """End what is under way, and drop what was made and has not left."""
        self.stop()
        self._due = self._refining = None
        self._attempts.clear()
        self._settings.refined.unlink(missing_ok=True)
        made = self._settings.share.glob(f"*{SUFFIX}")
        for path in (*made, *self._settings.refined.parent.glob(f"*{compressing.SUFFIX}")):
            path.unlink(missing_ok=True)

    def _clear(self) -> set[str]:
        """Delete outcomes that were answered; return the tasks whose outcome waits to be sent."""
        done = set()
        for found in find_outcomes(self._settings.share, self._longest):
            if not isinstance(found, Outcome):
                continue
            task = getattr(found.reply, "task", "")
            stored = self._exchange.task(task)
            if stored is not None and stored.state == "open":
                done.add(task)
            else:
                (self._settings.share / f"{found.name}{SUFFIX}").unlink(missing_ok=True)
                self._attempts.pop(task, None)
        return done

    def _start(self, task: StoredTask) -> None:
        try:
            message = decode_task(task.fields)
        except PeerError:
            self._decline(task)
            return
        self._attempts[task.task] += 1
        if self._attempts[task.task] > ATTEMPTS:
            self._decline(task)
            return
        sequence = 0
        if isinstance(message, Train):
            sequence = self._begin(task.task, message.base)
        self._run("--task", task.task, "--sequence", str(sequence))

    def _run(self, *arguments: str) -> None:
        import subprocess  # noqa: PLC0415 - takes memory that most agents need for nothing else

        command = [sys.executable, "-m", "headwater_agent.trainer"]
        command += ["--settings", str(self._settings_file), *arguments]
        self._running = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _finish(self, effect: Refine, *, worked: bool) -> None:
        """Hand over what a refinement made; one that failed is due again with the next release."""
        self._refining = None
        path = self._settings.refined
        made = None
        if worked and path.exists():
            made = load_weights(path, self._manifest)
        path.unlink(missing_ok=True)
        self._refined(Refined(effect.version, made))

    def _decline(self, task: StoredTask) -> None:
        write_outcome(
            self._settings.share,
            Declined(device=self._settings.device, task=task.task, reason="failed"),
        )
