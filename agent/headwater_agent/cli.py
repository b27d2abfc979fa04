"""``headwater agent``: set a device up, check it, run it, look at it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.console import Console

from headwater.errors import HeadwaterError, StorageError
from headwater_agent.codec import Decoder
from headwater_agent.egress_cli import egress
from headwater_agent.folders import make_folders
from headwater_agent.install.commands import install, uninstall
from headwater_agent.nodekey import make_key, read_key
from headwater_agent.owner_cli import forget, pause, reset, resume, warm
from headwater_agent.quarantine_cli import app as quarantine
from headwater_agent.rivers.settings import RiverSettings
from headwater_agent.settings import AgentSettings, load_settings
from headwater_agent.skeleton import host_name, skeleton
from headwater_agent.status import is_running, read_status
from headwater_agent.status_view import show
from headwater_agent.trace_cli import trace
from headwater_agent.transport import Session
from headwater_models.bundle import Bundle

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(quarantine, name="quarantine")
app.command()(egress)
app.command()(install)
app.command()(uninstall)
for command in (pause, resume, forget, reset, warm, trace):
    app.command()(command)

PROBE_S = 10.0
"""Seconds that ``check --connect`` waits for the broker."""

WATCH_S = 2.0
"""Seconds between two looks of ``status --watch``."""

SettingsFile = Annotated[
    Path,
    typer.Option("--settings", envvar="HEADWATER_AGENT", help="The agent's settings."),
]


@app.callback()
def agent() -> None:
    """Predict and learn on this device's streams."""


@app.command()
def init(
    bundle: Annotated[Path, typer.Option(help="The model: a folder or a .zip.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where agent.toml goes.")] = Path(),
    device: Annotated[str, typer.Option(help="The device's name; by default the host's.")] = "",
    broker: Annotated[str, typer.Option(help="URL of the MQTT broker.")] = "mqtt://127.0.0.1:1883",
    coordinator: Annotated[str, typer.Option(help="URL of the coordinator, to federate.")] = "",
) -> None:
    """Write a commented agent.toml for a model, the state folders and the device's key."""
    path = folder / "agent.toml"
    text = skeleton(
        device=device or host_name(),
        bundle_path=str(bundle.absolute()),
        bundle=Bundle.load(bundle),
        broker=broker,
        coordinator=coordinator,
    )
    _write_new(path, text)
    try:
        settings = load_settings(path, {})
        make_folders(settings)
    except HeadwaterError:
        path.unlink()
        raise
    fingerprint = make_key(settings.node_key.parent)
    typer.echo(f"Wrote {path}. The device's key is {fingerprint}.")
    typer.echo(f"Change its [input] to your topics, then: headwater agent check --settings {path}")


@app.command()
def check(
    settings_file: SettingsFile = Path("agent.toml"),
    connect: Annotated[bool, typer.Option("--connect", help="Try the broker, too.")] = False,
) -> None:
    """Say of settings, model, state and broker what is right, what is wrong and what is odd.

    Ends with the exit code of the first thing that is wrong.
    """
    settings = load_settings(settings_file, os.environ)
    typer.echo(f"ok    settings: {settings_file}")
    steps: dict[str, Callable[[], str]] = {
        "model": lambda: _check_model(settings),
        "input": lambda: _check_input(settings),
        "state": lambda: _check_state(settings),
    }
    river = settings.learn.river
    if river is not None:
        steps["river"] = lambda: _check_river(_load(settings), river)
    if settings.beside.models:
        steps["beside"] = lambda: _check_beside(settings)
    if settings.federation.enabled:
        steps["key"] = lambda: _check_key(settings)
    if connect:
        steps["broker"] = lambda: _check_broker(settings)
    first: HeadwaterError | None = None
    for name, step in steps.items():
        try:
            typer.echo(f"ok    {name}: {step()}")
        except HeadwaterError as error:
            typer.echo(f"wrong {name}: {error}")
            first = first or error
    for note in _notes(settings):
        typer.echo(f"note  {note}")
    if first is not None:
        raise typer.Exit(first.exit_code)


@app.command()
def run(settings_file: SettingsFile = Path("agent.toml")) -> None:
    """Predict and learn until told to stop (Ctrl-C, SIGTERM); SIGHUP reads the settings again."""
    from headwater_agent import process  # noqa: PLC0415 - the other commands start faster

    process.run_file(settings_file)


@app.command()
def status(
    settings_file: SettingsFile = Path("agent.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Show what an agent has seen, how well it predicts, and what it sent."""
    settings = load_settings(settings_file, os.environ)
    manifest = Bundle.load(settings.bundle).manifest
    console = Console()

    def look() -> None:
        found = read_status(settings, manifest)
        if as_json:
            typer.echo(msgspec.json.encode(found))
            return
        if watch:
            console.clear()
        show(found, manifest, console)

    look()
    with suppress(KeyboardInterrupt):
        while watch:
            time.sleep(WATCH_S)
            look()


@app.command()
def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The new bundle: a folder or a .zip.")
    ],
    settings_file: SettingsFile = Path("agent.toml"),
) -> None:
    """Write what this device learned as a bundle of its own: the same graphs, its own weights."""
    from headwater_agent.export import export_personal  # noqa: PLC0415 - imports onnxruntime

    bundle = export_personal(load_settings(settings_file, os.environ))
    bundle.save(output)
    typer.echo(f"Wrote {output}, unsigned: version {bundle.version_id[:12]}.")


@app.command()
def federate(
    context: typer.Context,
    settings_file: SettingsFile = Path("agent.toml"),
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing is owed to the coordinator any more.")
    ] = False,
) -> None:
    """Exchange updates and releases with the coordinator, in a process of its own."""
    from headwater_agent import federation  # noqa: PLC0415 - imports the client's side

    level = context.find_root().params.get("log_level", "info")
    arguments = ["--settings", str(settings_file), "--log-level", level]
    raise typer.Exit(federation.main([*arguments, "--once"] if once else arguments))


def _write_new(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise StorageError(
            f"{path} is there already and is left as it is; remove it, or choose another --dir."
        ) from error
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error


def _load(settings: AgentSettings) -> Bundle:
    return Bundle.load(settings.bundle, publisher=settings.trust.publisher or None)


def _check_model(settings: AgentSettings) -> str:
    from headwater_models.checks import check_bundle  # noqa: PLC0415 - imports onnxruntime

    bundle = _load(settings)
    kept = list(check_bundle(bundle, np.random.default_rng(0)))
    signed = "signed by trust.publisher" if settings.trust.publisher else "signature NOT REQUIRED"
    return f"{bundle.manifest.name} {bundle.model_id[:12]}, {signed}, {len(kept)} checks held"


def _notes(settings: AgentSettings) -> Iterator[str]:
    """Yield what works, but hardly as it was meant."""
    try:
        task = _load(settings).manifest.task
    except HeadwaterError:
        return  # the model's own line says so
    if task in ("classification", "regression") and settings.labels is None:
        yield (
            f"labels: a {task} model learns from labels, and no [labels] names their topic: it "
            "predicts and never learns"
        )


def _check_input(settings: AgentSettings) -> str:
    Decoder(settings, _load(settings).manifest)
    return "subscribes to " + ", ".join(item.subscription for item in settings.inputs)


def _check_state(settings: AgentSettings) -> str:
    if is_running(settings):
        return f"{settings.state} is in use by a running agent"
    if not os.access(settings.agent_db.parent, os.R_OK | os.W_OK | os.X_OK):
        raise StorageError(
            f"{settings.agent_db.parent} is missing or not yours; run `headwater agent init`, or "
            "give the folder to the agent's user."
        )
    if not settings.agent_db.exists():
        return f"{settings.state} is empty"
    found = read_status(settings, _load(settings).manifest)
    return f"{settings.state} holds {len(found.streams)} streams"


def _check_river(bundle: Bundle, settings: RiverSettings) -> str:
    from headwater_agent.rivers.personal import RiverPersonal  # noqa: PLC0415 - as above
    from headwater_models.session import Predictor  # noqa: PLC0415 - as above

    made = RiverPersonal(settings, bundle.manifest, Predictor(bundle.infer), bundle.weights)
    return made.stays or f"{made.name} is the bundle's last layer and is shared by its weights"


def _check_beside(settings: AgentSettings) -> str:
    from headwater_agent.beside import Beside, load_beside  # noqa: PLC0415 - as above

    manifest, publisher = _load(settings).manifest, settings.trust.publisher or None
    beside = Beside(load_beside(settings.beside, manifest, publisher=publisher), manifest.outputs)
    return f"{len(beside.names)} models predict beside it, {beside.calls} calls for each batch"


def _check_key(settings: AgentSettings) -> str:
    read_key(settings.node_key)
    return f"{settings.node_key} can be read by its owner alone"


def _check_broker(settings: AgentSettings) -> str:
    from headwater_agent.mqtt import probe  # noqa: PLC0415 - imports paho

    session = Session(
        client_id=f"{settings.client_id}-check",
        subscriptions=tuple((item.subscription, item.qos) for item in settings.inputs),
        persistent=False,
    )
    probe(settings.broker, session, PROBE_S)
    return f"{settings.broker.url} takes the connection and the subscriptions"
