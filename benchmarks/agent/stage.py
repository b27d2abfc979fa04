"""A broker, a measured process on a core of its own, and the load on what other cores there are."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.agent.sides import CLIENT, SIDES, CannotRunError, Place, Side
from benchmarks.agent.wire import Wire
from benchmarks.agent.workload import Sensors
from headwater.errors import UnsupportedError
from headwater_coordinator import child as wrapper
from headwater_simulator.broker import free_ports, listens
from headwater_simulator.processes import Child, Crew, crew

START_S = 60.0
"""How long a process may take until it has subscribed, and until its first answer."""

QUIET_S = 2.5
"""Seconds without an answer and without work after which what is missing counts as lost."""

WORKS = 0.2
"""Share of a core from which on a process is at work."""

SETTLE_S = 1.5
"""Seconds after the last answer in which what is left to do counts, too: the commit above all."""

AHEAD = 1_000
"""Records of a live stream that are sent and not yet answered at most: as many as the broker sends
unacknowledged, so that none waits there, and the stream is as fast as the side sustains it.
"""

LOOK_S = 0.001
"""Seconds between two looks at answers that are lines of a file."""

WARM = 200
"""Records that a side has seen before it is measured, at least ten of each stream."""

_BROKER = """\
listener {port} 127.0.0.1
allow_anonymous true
log_dest stderr
log_type subscribe
max_inflight_messages 1000
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What so many events took: the process's CPU, and time until the last answer."""

    events: int
    lost: int
    cpu_s: float
    wall_s: float


@dataclass(slots=True)
class Trace:
    """When each record was sent and each answer came, by the monotonic clock, with the payload."""

    sent: list[tuple[float, bytes]] = field(default_factory=list)
    came: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Records without an answer."""
        return max(0, len(self.sent) - len(self.came))


class Running:
    """A side at work.

    Parameters
    ----------
    side
        Which one.
    child
        Its process.
    place
        Where it runs.
    wire
        The load's connection to the same broker.
    sensors
        What it is to work on.

    Attributes
    ----------
    began
        When the program was started, by the monotonic clock.
    """

    def __init__(self, side: Side, child: Child, place: Place, wire: Wire, sensors: Sensors):
        self.began = _executed(child.pid)
        self.place = place
        self.sensors = sensors
        self._side = side
        self._child = child
        self._wire = wire
        self._read = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads so far."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3) of another process

    def check(self) -> None:
        """Raise CannotRunError where it has ended."""
        if self._child.exit_code is not None:
            raise CannotRunError(f"{self._child.name} ended:\n{self._child.tail()}")

    def first_answer(self, rate: float) -> float:
        """Stream until an answer comes; return the monotonic clock then."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            came = len(self._wire.send(self._next()))
            due = time.monotonic() + 1 / rate
            while (wait := due - time.monotonic()) > 0 and not came:
                came = self._answers(wait)
            if came:
                return time.monotonic()
            self.check()
        raise TimeoutError(f"{self._child.name} does not answer:\n{self._child.tail()}")

    def warm(self) -> None:
        """Let it see the first records, and come to rest."""
        self.first_answer(200)
        count = max(WARM, 10 * self.sensors.streams)
        self._wire.send(self._next(count))
        self._wire.settle()
        self.rest()

    def rest(self) -> None:
        """Return once no more answers come, and it is idle."""
        self._gather(lambda: self._answers(0.05), sys.maxsize)

    def backlog(self, count: int) -> Spent:
        """Let it work off records that the broker already holds for it.

        The process stands still while they are published, so that from then on broker and load
        have nothing else to do, and the measured side is never short of work.
        """
        packets = self._next(count)
        os.kill(self.pid, signal.SIGSTOP)
        try:
            self._wire.send(packets)
            self._wire.settle()
            cpu, began = self.cpu_s(), time.monotonic()
        finally:
            os.kill(self.pid, signal.SIGCONT)
        seen, ended = self._gather(lambda: self._answers(0.05), count)
        time.sleep(SETTLE_S)
        return Spent(seen, max(0, count - seen), self.cpu_s() - cpu, ended - began)

    def live(self, count: int) -> Spent:
        """Let it work on records that are sent as fast as it answers them."""
        packets = self._wire.encode(self.sensors.take(count), self.place.qos)
        sent = answered = 0

        def go_on() -> int:
            nonlocal sent, answered
            due = packets[sent : answered + AHEAD]
            sent += len(due)
            came = len(self._wire.send(b"".join(due))) + self._answers(0.0 if due else 0.05)
            answered += came
            return came

        cpu, began = self.cpu_s(), time.monotonic()
        seen, ended = self._gather(go_on, count)
        time.sleep(SETTLE_S)
        return Spent(seen, max(0, count - seen), self.cpu_s() - cpu, ended - began)

    def at_rate(self, rate: float, seconds: float) -> Spent:
        """Stream records evenly and see what they cost."""
        cpu, began = self.cpu_s(), time.monotonic()
        trace = self.stream(rate, seconds)
        spent = self.cpu_s() - cpu
        return Spent(len(trace.came), trace.lost, spent, time.monotonic() - began)

    def stream(
        self, rate: float, seconds: float, halfway: Callable[[], None] = lambda: None
    ) -> Trace:
        """Stream records evenly; call *halfway* in between."""
        messages = self.sensors.take(max(1, round(rate * seconds)))
        packets = self._wire.encode(messages, self.place.qos)
        trace = Trace()
        began = time.monotonic()
        for number, made in enumerate(packets):
            while (wait := began + number / rate - time.monotonic()) > 0:
                self._see(trace, self._wire.poll(wait))
            if number == len(packets) // 2:
                halfway()
            trace.sent.append((time.monotonic(), messages[number][1]))
            self._see(trace, self._wire.send(made))
        self._gather(lambda: self._see(trace, self._wire.poll(0.05)), trace.lost)
        return trace

    def _next(self, count: int = 1) -> bytes:
        """Return the packets of the next records as one piece."""
        return b"".join(self._wire.encode(self.sensors.take(count), self.place.qos))

    def _see(self, trace: Trace, payloads: list[bytes]) -> int:
        now = time.monotonic()
        trace.came += [(now, payload) for payload in payloads]
        return len(payloads)

    def _gather(self, come: Callable[[], int], count: int) -> tuple[int, float]:
        """Wait for so many answers; return how many came, and when the last one did."""
        seen, last = 0, time.monotonic()
        active, cpu = last, self.cpu_s()
        while seen < count and time.monotonic() - active < QUIET_S:
            now = time.monotonic()
            came, spent = come(), self.cpu_s()
            if came:
                seen, last = seen + came, time.monotonic()
            if came or spent - cpu > WORKS * (time.monotonic() - now):
                active = time.monotonic()
            cpu = spent
            self.check()
        return seen, last

    def _answers(self, timeout: float) -> int:
        """Return how many answers came; those that are lines are counted in the file."""
        if self._side.output:
            return len(self._wire.poll(timeout))
        until = time.monotonic() + timeout
        while not (came := self._new_lines()) and time.monotonic() < until:
            self._wire.poll(LOOK_S)
        return came

    def _new_lines(self) -> int:
        with self._child.log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        return new.count(b"\n")


class Stage:
    """A broker with a folder; sides come and go, one at a time.

    Parameters
    ----------
    hands
        Whose children broker and sides are.
    folder
        An empty folder.
    model
        The model's folder.
    core
        That of the measured process.

    Attributes
    ----------
    port
        The broker's.

    Raises
    ------
    UnsupportedError
        When there is no mosquitto.
    """

    def __init__(self, hands: Crew, folder: Path, model: Path, core: int) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            raise UnsupportedError("mosquitto is not installed; install it to run this benchmark.")
        self.hands = hands
        self.folder = folder
        self.model = model
        self._core = core
        (self.port,) = free_ports(1)
        settings = folder / "mosquitto.conf"
        settings.write_text(_BROKER.format(port=self.port))
        self._broker = hands.start("mosquitto", [program, "-c", str(settings)])
        _until(lambda: listens(self.port), "the broker does not start")

    @contextmanager
    def side(self, name: str, qos: int, streams: int = 1) -> Iterator[Running]:
        """Have a side that has subscribed.

        Raises
        ------
        CannotRunError
            When it cannot run here.
        """
        side = SIDES[name]
        place = Place(self.port, qos, self.model, self.folder)
        wire = Wire(self.port, "load")
        try:
            if side.output:
                wire.subscribe(side.output)
            child = self.hands.start(name, side.command(place), catches_sigterm=False)
            try:
                os.sched_setaffinity(child.pid, {self._core})
                running = Running(side, child, place, wire, Sensors(streams))
                _until(lambda: self._subscribed(running), f"{name} subscribes")
                yield running
            finally:
                child.stop()
        finally:
            wire.close()

    def _subscribed(self, running: Running) -> bool:
        running.check()
        log = self._broker.log.read_text(encoding="utf-8")
        return re.search(rf" {CLIENT} \d+ sensors/\+", log) is not None


@contextmanager
def stage(model: Path, root: Path | None = None) -> Iterator[Stage]:
    """Have a broker of one's own in a temporary folder; nothing is left behind.

    Parameters
    ----------
    model
        The model's folder.
    root
        Where the folder is made; the system's place by default.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=root) as name:
        folder = Path(name)
        cores = os.sched_getaffinity(0)
        core = max(cores)
        os.sched_setaffinity(0, cores - {core} or cores)
        handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clean up
        try:
            with crew(folder / "logs", os.environ) as hands:
                yield Stage(hands, folder, model, core)
        finally:
            os.sched_setaffinity(0, cores)
            signal.signal(signal.SIGTERM, handler)


def _executed(pid: int) -> float:
    """Return when a child has become its program, for until then it was Python's start."""
    command = Path(f"/proc/{pid}/cmdline")
    _until(lambda: wrapper.__name__.encode() not in command.read_bytes(), "a program starts", 0.001)
    return time.monotonic()


def _until(done: Callable[[], object], what: str, pause_s: float = 0.01) -> None:
    deadline = time.monotonic() + START_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {START_S:g} seconds: {what}")
        time.sleep(pause_s)
