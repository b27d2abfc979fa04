"""The agent as a process: it ends when it is told to, and reads its settings again on SIGHUP.

Settings that are wrong change nothing. With right ones the agent settles, commits, and another one
goes on in its place, on the same databases and as the same MQTT client: it loses nothing that a
restart would not, and the broker keeps what comes meanwhile with QoS 1 or 2.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from headwater.errors import HeadwaterError, SettingsError
from headwater_agent.beside import load_beside
from headwater_agent.connection import make_transport
from headwater_agent.heap import trimmer
from headwater_agent.pipeline import Pipeline
from headwater_agent.reception import Reception
from headwater_agent.releases import first_version
from headwater_agent.runtime import Agent
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.synchronised import Clock
from headwater_agent.systemd import Notifier
from headwater_agent.transport import Waker
from headwater_models.bundle import Bundle

_COLLECT = (10_000, 20, 50)
"""Thresholds of the garbage collector: what the data path makes has no cycles, and with Python's
own thresholds looking for them takes a tenth of the processor."""

_SWITCH_S = 0.0005
"""How long another thread, such as that of the store, may keep one waiting that has a message."""

_log = logging.getLogger(__name__)


def run(settings: AgentSettings, settings_file: Path) -> None:
    """Run an agent until SIGTERM or SIGINT.

    Raises
    ------
    HeadwaterError
        When it cannot start, or the disk does not allow it to go on.
    """
    gc.set_threshold(*_COLLECT)
    sys.setswitchinterval(_SWITCH_S)
    with closing(Notifier(os.environ)) as notifier:
        Process(settings, settings_file, notifier).run()


def run_file(path: Path) -> None:
    """Run the agent of a settings file; raises as :func:`run` does, and where the file is wrong."""
    run(load_settings(path, os.environ), path)


def identity(settings: AgentSettings, model: str) -> dict[str, object]:
    """Return what a restart is needed for: who the agent is, and what its databases are of.

    Everything else may change while the process runs.
    """
    return {
        "device": settings.device,
        "state": settings.state,
        "bundle": model,
        "broker.client_id": settings.client_id,
    }


def reload_settings(path: Path, before: Mapping[str, object]) -> AgentSettings:
    """Read settings again, and check that an agent that runs can go over to them.

    Parameters
    ----------
    path
        Of the file.
    before
        The :func:`identity` of that agent.

    Raises
    ------
    HeadwaterError
        When they are wrong, do not fit the model, or are of another agent.
    """
    settings = load_settings(path, os.environ)
    publisher = settings.trust.publisher or None
    bundle = Bundle.load(settings.bundle, publisher=publisher)
    for key, value in identity(settings, bundle.model_id).items():
        if value != before[key]:
            raise SettingsError(
                f"{path}: {key}: this cannot change while the agent runs; restart it instead."
            )
    load_beside(settings.beside, bundle.manifest, publisher=publisher)
    Pipeline(bundle.manifest, first_version(bundle), settings.pipeline(bundle.manifest))
    Reception(settings, bundle.manifest)
    with closing(Waker()) as waker:
        make_transport(settings, waker).close()
    return settings


class Process:
    """One agent after another.

    Parameters
    ----------
    settings, settings_file
        To begin with, and where they are read again.
    notifier
        Hears how it goes.
    """

    def __init__(self, settings: AgentSettings, settings_file: Path, notifier: Notifier) -> None:
        self._settings = settings
        self._file = settings_file
        self._notifier = notifier
        self._clock = Clock(settings.clock)
        self._next: AgentSettings | None = settings
        self._asked = self._stopping = False
        self._agent: Agent | None = None
        self._reloading = ExitStack()

    def run(self) -> None:
        """Run until told to stop; raises as :func:`run` does."""
        with self._handlers():
            while (settings := self._next) is not None and not self._stopping:
                self._next = None
                agent = self._agent = self._start(settings)
                self._reloading.close()
                if self._stopping:
                    agent.stop()
                _leave_to_itself()
                with _metrics(self._settings):
                    agent.run()
                self._agent = None

    def _start(self, settings: AgentSettings) -> Agent:
        """Return an agent of new settings, or of those before where these let none start."""
        before = self._settings
        if settings.clock != before.clock:
            self._clock = Clock(settings.clock)
        try:
            agent = self._made(settings)
        except HeadwaterError as error:
            if settings is before:
                raise
            _log.error("no agent can start with the new settings, the old ones hold: %s", error)
            return self._made(before)
        self._settings = settings
        return agent

    def _made(self, settings: AgentSettings) -> Agent:
        return Agent(
            settings, self._file, clock=self._clock, notifier=self._notifier, look=self._look
        )

    def _look(self) -> None:
        """Read the settings again where that was asked for."""
        if not self._asked or self._agent is None:
            return
        self._asked = False
        self._reloading.enter_context(self._notifier.reloading())
        try:
            who = identity(self._settings, self._agent.model)
            self._next = reload_settings(self._file, who)
        except HeadwaterError as error:
            self._reloading.close()
            for line in str(error).splitlines():
                _log.error("the settings stay as they are: %s", line)
            return
        _log.info("the settings were read again")
        self._agent.stop(goes_on=True)

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._stopping = True
            if self._agent is not None:
                self._agent.stop()

        def ask(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._asked = True

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: ask}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            self._reloading.close()
            for number, earlier in before.items():
                signal.signal(number, earlier)


def _leave_to_itself() -> None:
    """Give back what the start alone needed; what is left is there to stay, and not collected."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trimmer()()


def _metrics(settings: AgentSettings) -> AbstractContextManager[None]:
    """Show the metrics meanwhile, where they are wanted."""
    if not settings.metrics.wanted:
        return nullcontext()
    from headwater.metrics_server import shown  # noqa: PLC0415 - only where it is wanted
    from headwater_agent.metrics import read_facts, render  # noqa: PLC0415 - prometheus_client

    return shown(settings.metrics, lambda: render(read_facts(settings)))
