"""The front, Flower's processes and the run, together until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

import uvicorn

from headwater.errors import SettingsError, UnreachableError
from headwater_coordinator.front import FrontApp, superlink_client
from headwater_coordinator.home import Home
from headwater_coordinator.metrics import shown_metrics
from headwater_coordinator.settings import Front, Settings
from headwater_coordinator.supervisor import WATCH_S, Supervisor

_GRACE_S = 3
_BACKLOG = 512


def serve(
    home: Home, settings: Settings, inherited: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; leave no process behind.

    Parameters
    ----------
    home, settings
        The coordinator's folder, and what stands in it.
    inherited
        The environment for Flower's processes.
    say
        Told, in sentences, when the coordinator listens and when it stops.

    Raises
    ------
    SettingsError
        When a port is taken.
    UnreachableError
        When Flower's processes do not start.
    """
    asyncio.run(_serve(home, settings, inherited, say))


async def _serve(
    home: Home, settings: Settings, inherited: Mapping[str, str], say: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    _refuse_taken("superlink.port", "127.0.0.1", settings.superlink.port)
    metrics = shown_metrics(home, settings.metrics)
    with _listening(settings.front) as door, _told_to_stop(stop), metrics:
        supervisor = Supervisor(home, settings.superlink.port, inherited)
        try:
            await _unless(stop, supervisor.start())
            if not stop.is_set():
                async with _front(home, settings, door):
                    say(_greeting(home, settings.front))
                    await _watch(supervisor, stop)
        finally:
            say("Stopping.")
            await supervisor.stop()


async def _watch(supervisor: Supervisor, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await supervisor.watch()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WATCH_S)


async def _unless(stop: asyncio.Event, starting: Coroutine[None, None, None]) -> None:
    """Wait for *starting*, but give it up when told to stop."""
    task = asyncio.create_task(starting, name="start")
    waiting = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def _front(home: Home, settings: Settings, door: socket.socket) -> AsyncIterator[None]:
    """Run the front while inside."""
    async with superlink_client(settings.superlink.port, home.authority) as upstream:
        config = uvicorn.Config(
            FrontApp(upstream, settings.front, time.monotonic),
            ssl_certfile=home.certificate,
            ssl_keyfile=home.certificate_key,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[door]), name="front")
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            if serving.done():
                raise UnreachableError("The front did not start; see the log above.")
            yield
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """A server that leaves signals to :func:`serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield


@contextlib.contextmanager
def _told_to_stop(stop: asyncio.Event) -> Iterator[None]:
    """Set the event at SIGINT or SIGTERM while inside."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _listening(front: Front) -> Iterator[socket.socket]:
    """Hold the front's socket while inside."""
    family = socket.AF_INET6 if ":" in front.host else socket.AF_INET
    with socket.socket(family) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((front.host, front.port))
        except OSError as error:
            raise SettingsError(
                f"coordinator.toml: front.host {front.host!r}, front.port {front.port} cannot be "
                f"used: {error.strerror}. Stop what listens there or choose another."
            ) from error
        yield door


def _refuse_taken(key: str, host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"coordinator.toml: {key} {port} cannot be used: {error.strerror}. "
                "Stop what listens there or choose another."
            ) from error


def _greeting(home: Home, front: Front) -> str:
    return (
        f"Listening on https://{front.host}:{front.port} for enrolled devices.\n"
        f"A device needs the bundle {home.bundle} and the certificate {home.authority}.\n"
        f"Let one in:  headwater coordinator enrol --home {home.root} node.pub\n"
        "Ctrl-C stops everything."
    )
