"""What installing and uninstalling do to a device, or to an image of one, step by step.

Users, folders and their modes are systemd's own business (``sysusers.d``, ``tmpfiles.d``): it
repeats them at each boot, and does them to an image too.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

import msgspec

from headwater.errors import SettingsError
from headwater.settings import convert, read_toml
from headwater_agent.install import steps
from headwater_agent.install.steps import Step
from headwater_agent.install.unit_files import (
    ALL_UNITS,
    CONFIGURATION,
    SETTINGS,
    STARTED,
    SYSUSERS,
    TMPFILES,
    UNITS,
    Files,
    make_files,
)
from headwater_agent.settings import AgentSettings

STATE = Path("/var/lib/headwater")
"""The state folder that a new agent.toml names."""

MODEL = STATE / "model"

USERS = ("headwater-agent", "headwater-federation")
GROUP = "headwater"

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - where nothing may lie
_PLAIN = re.compile(r"/[A-Za-z0-9._/+-]*")


@dataclass(frozen=True, slots=True)
class Site:
    """What is set up: this machine (``/``), or an image of one in a folder."""

    root: Path

    @property
    def is_image(self) -> bool:
        """Whether nothing runs there."""
        return self.root != Path("/")

    def at(self, path: Path) -> Path:
        """Return where a path of the device lies."""
        return self.root / path.relative_to("/") if self.is_image else path

    def run(self, *command: str) -> Step:
        """Run one of systemd's programs for this machine, or for the image."""
        program, *arguments = command
        return steps.run(program, *([f"--root={self.root}"] if self.is_image else []), *arguments)


def read_settings(site: Site, text: str | None = None) -> AgentSettings:
    """Return the settings of the device, with the paths that it knows them by.

    Parameters
    ----------
    site
        Where its ``agent.toml`` lies.
    text
        What will be in that file, where it is not there yet.

    Raises
    ------
    SettingsError
        When a key is wrong, or a path lies where a service cannot see it.
    """
    if text is None:
        settings = read_toml(site.at(SETTINGS), AgentSettings)
    else:
        settings = convert(tomllib.loads(text), AgentSettings, source=str(SETTINGS))
    settings.check(str(SETTINGS))
    complaints = [f"{SETTINGS}: {complaint}" for complaint in _path_complaints(settings)]
    if complaints:
        raise SettingsError("\n".join(complaints))
    return msgspec.structs.replace(settings, state=CONFIGURATION / settings.state)


def check_interpreter(site: Site, python: Path) -> None:
    """Refuse an interpreter that a service could not start.

    Raises
    ------
    SettingsError
        Where it, or what it is a link to, lies in somebody's home, or its path needs quotes.
    """
    target = python if site.is_image else python.resolve()
    complaint = _complaint(python) or _complaint(target)
    if complaint:
        raise SettingsError(
            f"Services cannot start {python}: {complaint}. Install Headwater where they can, for "
            "example `python3 -m venv /opt/headwater`, `/opt/headwater/bin/pip install headwater`, "
            "and run /opt/headwater/bin/headwater; or say with --python which one they start."
        )


def plan_install(
    site: Site, settings: AgentSettings, python: Path, *, new: str | None, bundle: Path | None
) -> Iterator[Step]:
    """Yield the steps that are left to do.

    Parameters
    ----------
    site
        What is set up.
    settings
        Of the device; see :func:`read_settings`.
    python
        The interpreter that its services start.
    new
        What to write into its ``agent.toml``; None where there is one, which is left as it is.
    bundle
        The model to copy beside it, where none is there.
    """
    if new is not None:
        yield steps.write(site.at(SETTINGS), new)
    if bundle is not None and not site.at(MODEL).exists():
        yield steps.copy_bundle(bundle, site.at(MODEL))
    made = make_files(settings, python)
    changed = {path for path, text in made if _read(site.at(path)) != text}
    yield from _take_away(site, [name for name in ALL_UNITS if name not in made.units])
    for path, text in made:
        if path in changed:
            yield steps.write(site.at(path), text)
    yield site.run("systemd-sysusers", SYSUSERS.name)
    yield site.run("systemd-tmpfiles", "--create", TMPFILES.name)
    if settings.federation.key is None and not site.at(settings.node_key).exists():
        yield steps.make_device_key(site.at(settings.exchange))
    yield from _start(site, made, changed, ready=new is None)


def plan_uninstall(site: Site, state: Path, *, purge: bool) -> Iterator[Step]:
    """Yield the steps that take services and units away, and with *purge* all else.

    Parameters
    ----------
    site
        Where it was installed.
    state
        The device's state folder.
    purge
        Whether settings, model, databases, keys and users go as well.
    """
    yield from _take_away(site, ALL_UNITS)
    for path in (SYSUSERS, TMPFILES):
        if site.at(path).exists():
            yield steps.remove(site.at(path))
    if not site.is_image:
        yield steps.run("systemctl", "daemon-reload")
    if not purge:
        return
    for path in (CONFIGURATION, MODEL, *(state / name for name in ("agent", "share", "exchange"))):
        if site.at(path).exists():
            yield steps.remove(site.at(path))
    yield steps.remove_if_empty(site.at(state))
    prefix = ["--prefix", str(site.root)] if site.is_image else []
    names = _read(site.at(Path("/etc/passwd"))) or ""
    for user in USERS:
        if f"\n{user}:" in f"\n{names}":
            yield steps.run("userdel", *prefix, user)
    if f"\n{GROUP}:" in f"\n{_read(site.at(Path('/etc/group'))) or ''}":
        yield steps.run("groupdel", *prefix, GROUP)


def _take_away(site: Site, names: Iterable[str]) -> Iterator[Step]:
    """Stop and remove the units of these names that are there."""
    for name in names:
        path = site.at(UNITS / name)
        if not path.exists():
            continue
        if name in STARTED:
            now = [] if site.is_image else ["--now"]
            yield site.run("systemctl", "disable", *now, name)
        yield steps.remove(path)


def _start(site: Site, made: Files, changed: set[Path], *, ready: bool) -> Iterator[Step]:
    """Enable the units, and start them where the settings are not new and to be edited first."""
    if not site.is_image:
        yield steps.run("systemctl", "daemon-reload")
    for name in STARTED:
        if name not in made.units:
            continue
        yield site.run("systemctl", "enable", name)
        if ready and not site.is_image:
            verb = "restart" if UNITS / name in changed else "start"
            yield steps.run("systemctl", "--no-block", verb, name)


def _path_complaints(settings: AgentSettings) -> Iterator[str]:
    broker, federation = settings.broker, settings.federation
    for key, path in (
        ("bundle", settings.bundle),
        ("state", settings.state),
        ("broker.password_file", broker.password_file),
        ("broker.ca", broker.ca),
        ("broker.cert", broker.cert),
        ("broker.key", broker.key),
        ("federation.ca", federation.ca),
        ("federation.key", federation.key),
        ("metrics.textfile", settings.metrics.textfile),
    ):
        complaint = path is not None and _complaint(Path(normpath(CONFIGURATION / path)))
        if complaint:
            yield f"{key}: services cannot use {path}: {complaint}"


def _complaint(path: Path) -> str:
    for folder in _HIDDEN:
        if path.is_relative_to(folder):
            return f"they do not see what is in {folder}"
    if not _PLAIN.fullmatch(str(path)):
        return "systemd takes letters, digits and . _ + - in a path"
    return ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
