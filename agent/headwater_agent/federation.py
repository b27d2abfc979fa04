"""The federation client: the process that talks to the coordinator, and touches nothing else.

It owns ``exchange/`` and reads ``share/``; it never opens ``agent.db``. It answers check-ins at
once, stores what the agent's side has to do, verifies and stores versions, and sends finished
outcomes after checking them again. It may die at any instruction: what it was asked, what it
decided and what it sent are on disk before anyone is told. It runs only when the owner's settings
allow it, and holds no connection while they do not.

Run as ``python -m headwater_agent.federation --settings agent.toml [--once]``.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from headwater.clock import now_ms
from headwater.errors import (
    HeadwaterError,
    NotNowError,
    PeerError,
    SettingsError,
    StorageError,
    UnreachableError,
)
from headwater.logs import configure_logging
from headwater_agent.allowance import Allowance
from headwater_agent.courier import Connection, Courier
from headwater_agent.exchange import Exchange
from headwater_agent.nodekey import read_key
from headwater_agent.pauses import read_pauses
from headwater_agent.settings import PASSWORD_VARIABLE, AgentSettings, load_settings
from headwater_agent.synchronised import Clock
from headwater_agent.verdict import Device
from headwater_models.arrays import packed_size
from headwater_models.bundle import Bundle
from headwater_models.files import storage_errors

ATTEMPTS_ONCE = 5
"""Times in a row that a client started with ``--once`` finds no coordinator before it ends."""

LONGEST_PAUSE_S = 300.0

_log = logging.getLogger("headwater_agent.federation")  # not __main__, when it is the process


def load_device(settings: AgentSettings) -> Device:
    """Return what the federation client trusts: a signed bundle.

    Raises
    ------
    BundleError
        When the bundle is damaged, unsigned, or not of the publisher that is trusted.
    """
    publisher = settings.trust.publisher or None
    bundle = Bundle.load(settings.bundle, publisher=publisher)
    trusted, current = bundle.verify(publisher=publisher)
    return Device(settings.device, bundle.manifest, trusted, current, dict(bundle.weights))


def run(
    settings: AgentSettings,
    connect: Callable[[Device], Connection],
    refusal: Callable[[], str | None],
    *,
    once: bool,
    stop: threading.Event,
    rng: Random,
) -> None:
    """Run the client until *stop* is set, or with *once* until nothing is owed any more.

    Parameters
    ----------
    settings
        The agent's.
    connect
        Makes a connection, each time that one is allowed.
    refusal
        Says why the client may not run now, or None; see :class:`.allowance.Allowance`.
    once, stop, rng
        When to end, and the source of jitter.

    Raises
    ------
    NotNowError
        With *once* when it is not allowed.
    HeadwaterError
        With *once* whatever goes wrong; else what no waiting would mend.
    """
    device = load_device(settings)
    with storage_errors(settings.exchange, "written"):
        settings.exchange.mkdir(parents=True, exist_ok=True)
    poll_s = settings.federation.poll / 1000
    refusals = 0
    with _alone(settings.exchange / "lock"), closing(Exchange(settings.exchange_db)) as exchange:
        while not stop.is_set():
            reason = refusal()
            _note(exchange, reason)
            if reason is None:
                courier = Courier(settings, device, exchange, connect(device))
                with closing(courier):
                    done = _session(courier, poll_s, refusal, once=once, stop=stop, rng=rng)
                if done:
                    return
                refusals = 0
            elif once:
                raise NotNowError(f"Not now: {reason}.")
            else:
                refusals += 1
                stop.wait(_pause(poll_s, refusals, rng))


def _note(exchange: Exchange, reason: str | None) -> None:
    """Let the owner see why the client waits."""
    if exchange.note_refusal(reason, now_ms()):
        _log.info("it may run" if reason is None else "waiting: %s", *([reason] if reason else []))


def _session(
    courier: Courier,
    poll_s: float,
    refusal: Callable[[], str | None],
    *,
    once: bool,
    stop: threading.Event,
    rng: Random,
) -> bool:
    """Exchange while that is allowed; return whether, with *once*, nothing is owed any more."""
    failures = 0
    while not stop.is_set() and refusal() is None:
        try:
            came = courier.exchange_once()
        except (UnreachableError, PeerError) as error:
            failures += 1
            if once and (isinstance(error, PeerError) or failures == ATTEMPTS_ONCE):
                raise
            _log.warning("%s", error)
        else:
            failures = 0
            if once and not came and courier.idle:
                return True
        stop.wait(_pause(max(poll_s, courier.poll_s), failures, rng))
    return False


def _pause(poll_s: float, failures: int, rng: Random) -> float:
    """Return seconds: around the poll interval, after failures doubling from it up to a bound."""
    if failures == 0:
        return poll_s * rng.uniform(0.8, 1.2)
    longest = max(poll_s, LONGEST_PAUSE_S)
    return min(longest, poll_s * 2.0 ** min(failures - 1, 16)) * rng.uniform(0.5, 1.0)


def _be_nice(least: int) -> None:
    """Yield the processor to others; threads that are started later inherit it."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness < least:
        os.setpriority(os.PRIO_PROCESS, 0, least)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock that keeps a second client from writing the same database."""
    with storage_errors(path, "written"):
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"Another federation client works on {path.parent}; stop it first."
            ) from error
        yield


def _connection(settings: AgentSettings) -> Callable[[Device], Connection]:
    """Return what opens Flower's connection; flwr is imported when it is called."""

    def connect(device: Device) -> Connection:
        from headwater_agent.flower import FleetConnection  # noqa: PLC0415 - costs 70 MB

        return FleetConnection(
            settings.federation.coordinator,
            read_key(settings.node_key),
            ca=settings.federation.ca,
            elements=packed_size(device.manifest),
            node_file=settings.exchange / "node.id",
            rng=Random(),  # noqa: S311 - jitter
        )

    return connect


def main(arguments: list[str] | None = None) -> int:
    """Run the federation client as a process; return its exit code."""
    parser = argparse.ArgumentParser(prog="headwater_agent.federation", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's settings")
    parser.add_argument("--once", action="store_true", help="end when nothing is owed any more")
    parser.add_argument("--log-level", default="info")
    given = parser.parse_args(arguments)
    configure_logging(given.log_level)
    os.umask(0o027)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = load_settings(given.settings, {**os.environ, PASSWORD_VARIABLE: ""})
        if not settings.federation.coordinator:
            raise SettingsError(f"{given.settings}: federation.coordinator: this key is required.")
        os.environ.update(
            FLWR_TELEMETRY_ENABLED="0",
            FLWR_DISABLE_UPDATE_CHECK="1",
            FLWR_HOME=str(settings.exchange / "flower"),
        )
        _be_nice(settings.federation.nice)
        allowance = Allowance(
            settings.federation,
            Clock(settings.clock),
            paused=lambda: "federation" in read_pauses(settings.share),
        )
        rng = Random()  # noqa: S311 - jitter
        run(settings, _connection(settings), allowance, once=given.once, stop=stop, rng=rng)
    except HeadwaterError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
