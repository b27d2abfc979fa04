"""Who is measured, and how each is started: the agent, the scripts, and what does nothing but echo.

All have the same client id, subscribe to ``sensors/+`` and run as processes of their own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent.workload import PUBLISHER
from headwater_agent.folders import make_folders
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.status import AgentStatus, read_status
from headwater_models.bundle import Bundle

CLIENT = "measured"

LINGER = "50ms"
"""How long messages wait for more on the side that lingers."""

_SETTINGS = """\
device = "bench"
bundle = "{model}"
state = "{state}"

[trust]
publisher = "{publisher}"

[broker]
url = "mqtt://127.0.0.1:{port}"
client_id = "{client}"
linger = "{linger}"

[input]
pattern = "sensors/{{stream}}"
qos = {qos}
time = {{ field = "time", format = "ms" }}

[output]
qos = {qos}

[drift]
enabled = {drift}
"""

_BESIDE = """
[beside]
models = ["{folder}/*"]
"""


class CannotRunError(Exception):
    """A side that cannot run here, with the reason."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a side runs: the broker's port, the QoS, the model and a folder of its own."""

    port: int
    qos: int
    model: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Side:
    """A measured program.

    ``output`` is the filter of what it publishes, empty where it writes a line for each message
    instead; ``window`` the records of a stream that it needs before it answers.
    """

    output: str
    window: int
    command: Callable[[Place], list[str]]


def settings_of(
    place: Place, *, drift: bool = True, linger: str = "0s"
) -> tuple[Path, AgentSettings]:
    """Write the agent's settings, all at their defaults but drift and linger; make its folders."""
    path = place.folder / "agent.toml"
    path.write_text(
        _SETTINGS.format(
            model=place.model,
            state=place.folder / "state",
            publisher=PUBLISHER.public,
            port=place.port,
            client=CLIENT,
            qos=place.qos,
            drift=str(drift).lower(),
            linger=linger,
        )
    )
    settings = load_settings(path, {})
    make_folders(settings)
    return path, settings


def status_of(place: Place) -> AgentStatus:
    """Return what ``headwater agent status`` says of the agent there."""
    return read_status(settings_of(place)[1], Bundle.load(place.model).manifest)


def agent(place: Place) -> list[str]:
    """Run the agent as it is installed, with guard, learning, store and river's drift detectors."""
    return run_agent(settings_of(place)[0])


def beside(model: Path) -> Path:
    """Return where the models beside a model are."""
    return model.with_name("beside")


def agent_with_models(place: Place) -> list[str]:
    """Run the agent as it is installed, with all models beside its own."""
    path = settings_of(place)[0]
    with path.open("a") as file:
        file.write(_BESIDE.format(folder=beside(place.model)))
    return run_agent(path)


def agent_without_river(place: Place) -> list[str]:
    """Run the agent with its default settings, which leave drift off."""
    return run_agent(settings_of(place, drift=False)[0])


def agent_that_lingers(place: Place) -> list[str]:
    """Run the agent so that it takes together what comes within :data:`LINGER`."""
    return run_agent(settings_of(place, linger=LINGER)[0])


def run_agent(settings_file: Path) -> list[str]:
    """Return the command that runs an agent."""
    return [sys.executable, "-m", "headwater", "agent", "run", "--settings", str(settings_file)]


def _naive(learner: str, *, models: bool = False) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        more = ["--beside", str(beside(place.model))] if models else []
        return [
            *(sys.executable, "-m", "benchmarks.agent.naive", "--learner", learner),
            *("--port", str(place.port), "--qos", str(place.qos)),
            *("--model", str(place.model), "--database", str(place.folder / "naive.db")),
            *more,
        ]

    return command


def _echo(place: Place) -> list[str]:
    return [sys.executable, "-m", "benchmarks.agent.echo", str(place.port), str(place.qos)]


def _echo_onnx(place: Place) -> list[str]:
    where = [str(place.port), str(place.qos), str(place.model)]
    return [sys.executable, "-m", "benchmarks.agent.echo_onnx", *where]


def _echo_c(place: Place) -> list[str]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise CannotRunError("there is no C compiler")
    program = place.folder / "echo"
    source = Path(__file__).with_name("echo.c")
    built = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source), "-l:libmosquitto.so.1"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise CannotRunError(f"it does not compile: {built.stderr.strip().splitlines()[-1]}")
    return [str(program), str(place.port), str(place.qos)]


def _mosquitto_sub(place: Place) -> list[str]:
    program = shutil.which("mosquitto_sub")
    if program is None:
        raise CannotRunError("mosquitto_sub is not installed")
    where = ["-h", "127.0.0.1", "-p", str(place.port), "-i", CLIENT]
    return [program, *where, "-q", str(place.qos), "-t", "sensors/+"]


AGENT, AGENT_WITHOUT_RIVER = "ours", "ours_without_river"
AGENT_WITH_MODELS, AGENT_THAT_LINGERS = "ours_with_models", "ours_lingering"
SIDES = {
    AGENT: Side("headwater/+/+/prediction", 8, agent),
    AGENT_WITHOUT_RIVER: Side("headwater/+/+/prediction", 8, agent_without_river),
    AGENT_WITH_MODELS: Side("headwater/+/+/beside", 8, agent_with_models),
    AGENT_THAT_LINGERS: Side("headwater/+/+/prediction", 8, agent_that_lingers),
    "naive_script": Side("naive/+/prediction", 8, _naive("graphs")),
    "naive_models": Side("naive/+/beside", 8, _naive("graphs", models=True)),
    "naive_river": Side("naive/+/prediction", 8, _naive("river")),
    "echo": Side("echo/#", 1, _echo),
    "echo_onnx": Side("echo/#", 1, _echo_onnx),
    "echo_c": Side("echo/#", 1, _echo_c),
    "mosquitto_sub": Side("", 1, _mosquitto_sub),
}
