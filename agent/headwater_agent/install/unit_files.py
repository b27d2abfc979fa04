"""The files that systemd reads, made from an agent's settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from headwater_agent.settings import AgentSettings

CONFIGURATION = Path("/etc/headwater")
"""Where an installed agent's settings lie."""

SETTINGS = CONFIGURATION / "agent.toml"

UNITS = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d/headwater.conf")
TMPFILES = Path("/etc/tmpfiles.d/headwater.conf")

AGENT = "headwater-agent.service"
RESIDENT = "headwater-federation.service"
FEDERATE = "headwater-federate.service"
TIMER = "headwater-federate.timer"

STARTED = (AGENT, RESIDENT, TIMER)
"""What is enabled where it is installed; the timer starts its service."""

ALL_UNITS = (*STARTED, FEDERATE)


@dataclass(frozen=True, slots=True)
class Files:
    """The text of each file by its path on the device."""

    units: dict[str, str]
    sysusers: str
    tmpfiles: str

    def __iter__(self) -> Iterator[tuple[Path, str]]:
        yield SYSUSERS, self.sysusers
        yield TMPFILES, self.tmpfiles
        for name, text in self.units.items():
            yield UNITS / name, text


def make_files(settings: AgentSettings, python: Path) -> Files:
    """Write out the units that the settings ask for, and the users and folders that they need.

    Parameters
    ----------
    settings
        With absolute paths.
    python
        The interpreter that Headwater is installed for, as the device knows it.
    """
    units = {AGENT: _agent(settings, python)}
    federation = settings.federation
    if federation.enabled:
        command = f"ExecStart={python} -I -m headwater agent federate --settings {SETTINGS}"
        name, how, install = RESIDENT, _RESIDENT.format(command=command), _INSTALL
        if federation.every is not None:
            name, how, install = FEDERATE, _ONCE.format(command=command), ""
            every_s = federation.every // 1000
            units[TIMER] = _text("federate.timer").format(
                every_s=every_s, spread_s=max(1, every_s // 10)
            )
        units[name] = _text("federation.service").format(
            name=name,
            how=how,
            install=install,
            state=settings.state,
            sandbox=_sandbox(_address_rules([federation.coordinator])),
        )
    tmpfiles = _text("tmpfiles.conf").format(state=settings.state)
    return Files(units, _text("sysusers.conf"), tmpfiles)


def _agent(settings: AgentSettings, python: Path) -> str:
    metrics = settings.metrics
    rules = _address_rules([settings.broker.url]) if metrics.stays_here else []
    return _text("agent.service").format(
        python=python,
        settings=SETTINGS,
        state=settings.state,
        textfile=f" {metrics.textfile.parent}" if metrics.textfile is not None else "",
        sandbox=_sandbox(rules),
    )


_INSTALL = """
[Install]
WantedBy=multi-user.target"""

_RESIDENT = """\
Type=exec
{command}
Restart=always
RestartSec=30s
RestartSteps=5
RestartMaxDelaySec=15min
TimeoutStopSec=1min"""

_ONCE = """\
# It stays until its task is answered. A coordinator that is away (7) and an hour at which it may
# not run (9) are no failures: the timer comes again.
Type=oneshot
{command} --once
SuccessExitStatus=7 9
TimeoutStartSec=6h"""


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sandbox(rules: Iterable[str]) -> str:
    return _text("sandbox.conf") + "".join(f"{line}\n" for line in rules)


def _address_rules(urls: Iterable[str]) -> list[str]:
    """Let a service speak to no one but its peers; where one is a name, its addresses may change.

    Parameters
    ----------
    urls
        Of the peers.
    """
    allowed = ["localhost"]
    for url in urls:
        host = urlsplit(url).hostname or ""
        if host == "localhost":
            continue
        try:
            allowed.append(str(ipaddress.ip_address(host)))
        except ValueError:
            return []
    return ["IPAddressDeny=any", f"IPAddressAllow={' '.join(allowed)}"]
