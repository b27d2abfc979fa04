"""The agent under load for as long as one likes: ``python -m benchmarks.soak``.

A real agent with a store whose limits are reached early, at a real mosquitto, QoS 1 in and out.
While it runs, a line now and then says what it takes. At the end comes a verdict: memory and files
must not grow, and every message must be in the store or in a count. docs/benchmarks.md says how it
is judged. Exit code 1 where something is wrong.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.agent import workload
from benchmarks.agent.sides import AGENT_WITHOUT_RIVER, SIDES, Place, run_agent, settings_of
from benchmarks.agent.stage import SETTLE_S, Running, stage
from benchmarks.agent.wire import Wire
from benchmarks.agent.workload import Sensors
from benchmarks.footprint import PACKAGES, rss_mb
from benchmarks.report import report
from headwater_agent.agent_reader import AgentReader
from headwater_agent.settings import AgentSettings
from headwater_models.bundle import Bundle
from headwater_simulator.processes import Child

WARM_UP = 0.5
"""Share of the run that comes before memory and files are judged."""

MEMORY_MB, FILES_MB = 8.0, 1.0
"""How much they may grow from the end of the warm-up to the end, by their slope."""

KEPT_S = 5.0
"""Seconds of the stream that the store keeps."""

SAMPLES = 24
"""At least, over the run; more where that makes them further apart than half a minute."""

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the agent took at a moment, and what went through it since the last one."""

    seconds: float
    memory_mb: float
    files_mb: float
    per_s: float
    unanswered: int


@dataclass(frozen=True, slots=True)
class Soaked:
    """A run: its samples, and what became of the messages that the broker took for the agent.

    ``stored`` are in the store, ``counted`` were dropped or refused and are in a count.
    """

    samples: tuple[Sample, ...]
    published: int
    stored: int
    counted: int

    def growth(self, of: Callable[[Sample], float]) -> float:
        """Return by how much something grew after the warm-up; raises as :func:`growth` does."""
        return growth([(sample.seconds, of(sample)) for sample in self.samples])

    def complaints(self) -> list[str]:
        """Return what is wrong, in sentences; nothing where all is well."""
        grown = [
            (what, self.growth(of), bound)
            for what, of, bound in (
                ("Memory", lambda sample: sample.memory_mb, MEMORY_MB),
                ("The store", lambda sample: sample.files_mb, FILES_MB),
            )
        ]
        found = [
            f"{what} grew by {by:.2f} MB after the warm-up; {bound:g} are allowed."
            for what, by, bound in grown
            if by > bound
        ]
        if lost := self.published - self.stored - self.counted:
            found.append(f"{lost:,} of {self.published:,} messages are in no store and no count.")
        return found


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much something grew after the warm-up, from its median slope.

    That of Theil and Sen: the median over all pairs of samples, which single peaks do not move.

    Parameters
    ----------
    points
        Seconds since the start, and how large it was.

    Raises
    ------
    TimeoutError
        When there are too few samples, as what is watched did not keep up.
    """
    judged = [point for point in points if point[0] >= WARM_UP * points[-1][0]]
    if len(judged) < 2:
        raise TimeoutError("It answered too slowly for its growth to be judged.")
    slopes = [(b - a) / (late - early) for (early, a), (late, b) in combinations(judged, 2)]
    return statistics.median(slopes) * (judged[-1][0] - judged[0][0])


@app.command()
def command(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 60.0,
    rate: Annotated[float, typer.Option(min=1, help="Messages per second.")] = 2_000.0,
    folder: Annotated[
        Path | None, typer.Option(help="Where state is kept; a disk, not a tmpfs.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")] = False,
) -> None:
    """Stream to an agent and see whether it grows or loses anything."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder) as name:
        model = Path(name) / "model"
        workload.model().save(model)
        soaked = soak(
            model,
            60 * minutes,
            rate,
            partial(console.print, highlight=False, soft_wrap=True),
            folder,
        )
    found = report("soak", PACKAGES, figures(soaked))
    found.show(console)
    if as_json:
        typer.echo(found.encode().decode())
    complaints = soaked.complaints()
    for complaint in complaints:
        console.print(complaint)
    console.print("failed" if complaints else "passed")
    raise typer.Exit(bool(complaints))


def figures(soaked: Soaked) -> dict[str, float]:
    """Return what a run says in numbers."""
    last = soaked.samples[-1]
    return {
        "messages": float(soaked.published),
        "messages_per_s": soaked.published / last.seconds,
        "stored": float(soaked.stored),
        "counted": float(soaked.counted),
        "lost": float(soaked.published - soaked.stored - soaked.counted),
        "unanswered": float(sum(sample.unanswered for sample in soaked.samples)),
        "rss_mb": last.memory_mb,
        "rss_mb_grown": soaked.growth(lambda sample: sample.memory_mb),
        "files_mb": last.files_mb,
        "files_mb_grown": soaked.growth(lambda sample: sample.files_mb),
    }


def soak(
    model: Path, seconds: float, rate: float, say: Callable[[str], None], root: Path | None = None
) -> Soaked:
    """Stream to an agent; say what it takes now and then.

    Parameters
    ----------
    model
        The model's folder.
    seconds, rate
        How long, and messages per second.
    say
        Takes the lines.
    root
        Where state is kept; the system's place for temporary files by default.
    """
    with _agent(model, rate, root) as (running, child, settings):
        running.warm()
        time.sleep(SETTLE_S)
        before, taken = _account(settings, model), running.sensors.taken
        samples = tuple(_watch(running, seconds, rate, say))
        running.rest()
        if not child.stop():
            raise RuntimeError(f"The agent did not end as it should:\n{child.tail()}")
        after = _account(settings, model)
        stored, counted = (late - early for early, late in zip(before, after, strict=True))
        return Soaked(samples, running.sensors.taken - taken, stored, counted)


@contextmanager
def _agent(
    model: Path, rate: float, root: Path | None
) -> Iterator[tuple[Running, Child, AgentSettings]]:
    """Have an agent whose store keeps little."""
    side = SIDES[AGENT_WITHOUT_RIVER]
    with stage(model, root) as here:
        place = Place(here.port, 1, model, here.folder)
        wire = Wire(here.port, "load")
        try:
            wire.subscribe(side.output)
            path, settings = settings_of(place, drift=False)
            with path.open("a") as file:
                kept = int(KEPT_S * rate)
                file.write(f"\n[store]\nrows = {kept}\nexamples = {kept}\npredictions = {kept}\n")
            child = here.hands.start("agent", run_agent(path))
            yield Running(side, child, place, wire, Sensors()), child, settings
        finally:
            wire.close()


def _watch(
    running: Running, seconds: float, rate: float, say: Callable[[str], None]
) -> Iterator[Sample]:
    """Yield samples; a stretch catches up on what was not sent while the last one was awaited."""
    every = min(30.0, seconds / SAMPLES)
    sent, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        length = min(every, seconds - passed)
        trace = running.stream((rate * (passed + length) - sent) / length, length)
        sent += len(trace.sent)
        now = time.monotonic() - began
        sample = Sample(
            seconds=now,
            memory_mb=rss_mb(running.pid),
            files_mb=_size_mb(running.place.folder / "state"),
            per_s=len(trace.sent) / (now - passed),
            unanswered=trace.lost,
        )
        say(
            f"{now / 60:4.0f} min {sample.memory_mb:.2f} MB memory {sample.files_mb:.2f} MB store "
            f"{sample.per_s:7.0f}/s {sample.unanswered:4} unanswered"
        )
        yield sample


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _account(settings: AgentSettings, model: Path) -> tuple[int, int]:
    """Return how many records are in the store, and how many in a count."""
    with closing(AgentReader(settings.agent_db, Bundle.load(model).manifest)) as reader:
        stored = sum(stream["rows"] for stream in reader.streams())
        counted = sum(
            count
            for name, count in reader.counters().items()
            if name.startswith("refused-") or name in ("rows-dropped", "rows-unstored")
        )
    return stored, counted


if __name__ == "__main__":
    app()
