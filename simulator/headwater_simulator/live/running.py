"""One run of the live engine, in a folder of its own that is gone when all went well."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from headwater.errors import HeadwaterError
from headwater.settings import Duration
from headwater_simulator.live.engine import LiveEngine, Surroundings
from headwater_simulator.live.fleet import PREFIX
from headwater_simulator.processes import orderly_sigterm
from headwater_simulator.publisher import require_broker
from headwater_simulator.report.results import Results
from headwater_simulator.scenario.settings import Scenario
from headwater_simulator.sources.opening import open_source


def lived(
    name: str,
    scenario: Scenario,
    told: Callable[[float], None],
    say: Callable[[str], None],
    *,
    speed: float | None = None,
    broker: str | None = None,
) -> Results:
    """Run a scenario with real processes.

    Parameters
    ----------
    name
        What to call it in the report.
    told
        Called now and then with the share of the run that is over.
    say
        Called with what a person should know: how long it takes, what is left out, where logs are.
    speed
        Seconds of the scenario in a real one; without it, as many as are possible.
    broker
        ``mqtt://HOST:PORT``; without it, one of our own.

    Raises
    ------
    UnsupportedError
        When the scenario cannot be lived.
    UnreachableError
        When there is no such broker, or a part fails; the logs are kept.
    """
    engine = LiveEngine(scenario, open_source(scenario), speed=speed)
    if broker is not None:
        require_broker(broker)
    say(_duration(engine))
    for words in engine.words:
        say(words)
    folder = Path(tempfile.mkdtemp(prefix="headwater-live-"))
    around = Surroundings(
        folder=folder,
        environment=os.environ,
        broker=broker,
        prefix=PREFIX if broker is None else f"{PREFIX}-{secrets.token_hex(4)}",
    )
    kept = False
    try:
        with orderly_sigterm():
            return engine.run(name, told, around)
    except HeadwaterError:
        say(f"The logs are in {folder}/logs.")
        kept = True
        raise
    finally:
        if not kept:
            shutil.rmtree(folder)


def _duration(engine: LiveEngine) -> str:
    second = Duration(round(engine.speed) * 1000)
    return (
        f"One second is {second} of the scenario (--speed {engine.speed:.6g}): it takes about "
        f"{engine.seconds:.0f} seconds, beside start and end."
    )
