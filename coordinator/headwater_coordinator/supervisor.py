"""Keeps Flower's processes and the coordinator's run alive, and ends them in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from headwater.errors import PeerError, SettingsError, UnreachableError
from headwater_coordinator.backoff import delays
from headwater_coordinator.child import adopt_orphans
from headwater_coordinator.enrolment import enrolled
from headwater_coordinator.flower import Control
from headwater_coordinator.home import Home
from headwater_coordinator.lock import holder
from headwater_coordinator.pulse import Pulse
from headwater_coordinator.superlink import superexec, superlink

T = TypeVar("T")

WATCH_S = 0.5
START_S = 60.0
"""How long the SuperLink, and then the ServerApp, may take to start."""
PROBE_EVERY_S = 5.0
"""How often the SuperLink is asked whether it is alive."""
PROBE_S = 10.0
"""How long it may take to say so."""
STEADY_S = 10.0
"""A ServerApp that worked for so long was no failed start; the next one does not wait."""

_log = logging.getLogger(__name__)


class Supervisor:
    """SuperLink, SuperExec and the run; whatever ends is started again.

    Parameters
    ----------
    home
        The coordinator's folder.
    port
        Of the SuperLink on loopback.
    inherited
        Environment that the processes get, beside Flower's switches.
    """

    def __init__(self, home: Home, port: int, inherited: Mapping[str, str]) -> None:
        self._home = home
        self._superlink = superlink(home, port, inherited)
        self._superexec = superexec(home, port, inherited)
        self._control = Control(port, home.authority)
        self._probe = Control(port, home.authority, PROBE_S)
        self._pulse = Pulse()
        self._probing: asyncio.Task[None] | None = None
        self._run: int | None = None
        self._up_since: float | None = None
        self._started_at = 0.0
        self._not_before = 0.0
        self._pauses: Iterator[float] = delays()
        self._known: set[str] = set()

    async def start(self) -> None:
        """Start everything and return when the ServerApp works.

        Raises
        ------
        UnreachableError
            When a part does not come up; its log says why.
        """
        adopt_orphans()
        self._superexec.start()
        await self._start_superlink()
        await self._call(self._control.stop_all)
        deadline = time.monotonic() + START_S
        self._probing = asyncio.create_task(self._feel_pulse(), name="pulse")
        while not self._up_since:
            await self.watch()
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"The coordinator's ServerApp does not start; see {self._home.logs}."
                )
            await asyncio.sleep(WATCH_S / 2)

    async def watch(self) -> None:
        """Look at every part once, and start again what is not there; raises nothing."""
        try:
            await self._revive()
            await self._enrol()
            await self._watch_run()
        except (UnreachableError, PeerError, SettingsError) as error:
            _log.warning("%s", error)
            await asyncio.sleep(next(self._pauses))

    async def _revive(self) -> None:
        if not self._superlink.alive:
            _log.warning("the SuperLink ended; starting it again")
            self._superlink.stop()
            await self._start_superlink()
        elif self._pulse.hangs:
            _log.warning("the SuperLink runs and does not answer; killing it and starting it again")
            self._pulse.begin_anew()
            await asyncio.to_thread(self._superlink.stop, kill=True)
            await self._start_superlink()
        if not self._superexec.alive:
            _log.warning("the SuperExec ended; starting it again")
            self._superexec.stop()
            self._superexec.start()

    async def stop(self) -> None:
        """End the run, then the SuperExec, then the SuperLink; nothing is left behind."""
        if self._probing is not None:
            self._probing.cancel()
        self._probe.close()
        self._control.close()
        await asyncio.to_thread(self._superexec.stop)
        await asyncio.to_thread(self._superlink.stop)

    async def _feel_pulse(self) -> None:
        """Ask the SuperLink small questions for as long as it is kept alive."""
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            try:
                await self._call(self._probe.running, self._run or 0)
            except UnreachableError:
                self._pulse.missed()
            except PeerError:
                self._pulse.answered()
            else:
                self._pulse.answered()

    async def _start_superlink(self) -> None:
        """Start the SuperLink and wait until it answers; a run that it had goes on."""
        self._superlink.start()
        self._known.clear()
        deadline = time.monotonic() + START_S
        while True:
            try:
                await self._call(self._control.admit, [])
            except UnreachableError:
                if time.monotonic() > deadline or not self._superlink.alive:
                    raise
                await asyncio.sleep(0.1)
            else:
                self._pulse.answered()
                return

    async def _enrol(self) -> None:
        """Tell the SuperLink about every device that it does not know yet."""
        names = {path.name for path in self._home.nodes.glob("*.pub")}
        if names == self._known:
            return
        await self._call(self._control.admit, list(enrolled(self._home.nodes)))
        self._known = names

    async def _watch_run(self) -> None:
        now = time.monotonic()
        if holder(self._home.lock) is not None:
            if self._up_since is None:
                _log.info("the coordinator works")
            self._up_since = self._up_since or now
            if now - self._up_since > STEADY_S:
                self._pauses = delays()
            return
        if not await self._starting(now):
            await self._start_run(now)

    async def _starting(self, now: float) -> bool:
        """Whether a run was started that may still come up."""
        if self._run is None or self._up_since is not None or now - self._started_at > START_S:
            return False
        return await self._call(self._control.running, self._run)

    async def _start_run(self, now: float) -> None:
        if now < self._not_before:
            return
        if self._run is not None:
            _log.warning("the coordinator's run ended; starting a new one")
            await self._call(self._control.stop, self._run)
        self._run = await self._call(self._control.start, self._home.root)
        self._up_since, self._started_at = None, now
        self._not_before = now + next(self._pauses)

    @staticmethod
    async def _call(method: Callable[..., T], *arguments: object) -> T:
        """Call the Control API without holding up the front."""
        return await asyncio.to_thread(method, *arguments)
