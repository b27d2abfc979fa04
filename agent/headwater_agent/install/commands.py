"""``headwater agent install`` and ``uninstall``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from headwater.errors import HeadwaterError, SettingsError, StorageError, UnsupportedError
from headwater_agent.install.plan import (
    MODEL,
    STATE,
    Site,
    check_interpreter,
    plan_install,
    plan_uninstall,
    read_settings,
)
from headwater_agent.install.steps import Step
from headwater_agent.install.unit_files import SETTINGS
from headwater_agent.nodekey import PUBLIC
from headwater_agent.skeleton import host_name, skeleton
from headwater_models.bundle import Bundle

BOOTED = Path("/run/systemd/system")
"""There where systemd runs the machine; see ``sd_booted(3)``."""

Root = Annotated[
    Path, typer.Option("--prefix", metavar="ROOT", help="Set up the image in this folder instead.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


def install(
    *,
    bundle: Annotated[Path | None, typer.Option(help="The model: a folder or a .zip.")] = None,
    device: Annotated[str, typer.Option(help="The device's name; by default the host's.")] = "",
    broker: Annotated[str, typer.Option(help="URL of the MQTT broker.")] = "mqtt://127.0.0.1:1883",
    coordinator: Annotated[str, typer.Option(help="URL of the coordinator, to federate.")] = "",
    python: Annotated[
        Path | None, typer.Option(help="The interpreter that services start; by default this one.")
    ] = None,
    root: Root = Path("/"),
    dry_run: DryRun = False,
) -> None:
    """Set this machine up as a device: users, folders, hardened systemd services.

    An /etc/headwater/agent.toml that is there decides and is never overwritten; --bundle, --device,
    --broker and --coordinator are for a new one. Again, it changes only what has to change.
    """
    site = Site(root.absolute())
    interpreter = python or Path(sys.executable)
    check_interpreter(site, interpreter)
    new = None
    if not site.at(SETTINGS).exists():
        if bundle is None:
            raise SettingsError(
                f"There is no {site.at(SETTINGS)}: name the model with --bundle, to make one."
            )
        new = skeleton(
            device=device or host_name(),
            bundle_path=str(MODEL),
            bundle=Bundle.load(bundle),
            broker=broker,
            coordinator=coordinator,
            state=str(STATE),
        )
    settings = read_settings(site, new)
    wanted = bundle if settings.bundle == MODEL else None
    _carry_out(
        plan_install(site, settings, interpreter, new=new, bundle=wanted), site, dry_run=dry_run
    )
    if dry_run:
        return
    if settings.federation.enabled:
        typer.echo(f"The coordinator enrols {site.at(settings.exchange) / PUBLIC}.")
    if new is not None:
        typer.echo(
            f"Change [input] in {SETTINGS} to your topics; then `headwater agent check --settings "
            f"{SETTINGS}`, and install again to start the services."
        )


def uninstall(
    *,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove settings, model, data, keys and users, too.")
    ] = False,
    root: Root = Path("/"),
    dry_run: DryRun = False,
) -> None:
    """Stop and remove the services; settings and data stay, unless --purge."""
    site = Site(root.absolute())
    try:
        state = read_settings(site).state
    except HeadwaterError:
        if purge and site.at(SETTINGS).exists():
            raise
        state = STATE
    _carry_out(plan_uninstall(site, state, purge=purge), site, dry_run=dry_run)


def _carry_out(planned: Iterable[Step], site: Site, *, dry_run: bool) -> None:
    """Do the steps, each after it was said; or with *dry_run* only say them.

    Raises
    ------
    StorageError
        When this is not root.
    UnsupportedError
        When systemd does not run here.
    """
    if not dry_run:
        if os.geteuid() != 0:
            raise StorageError("This needs root: run it with sudo, or look first with --dry-run.")
        if not site.is_image and not BOOTED.is_dir():
            raise UnsupportedError(
                "systemd does not run this machine; --prefix ROOT sets up an image of one."
            )
    for step in planned:
        typer.echo(f"would {step.says}" if dry_run else step.says)
        if not dry_run:
            step.do()
