"""An image of a device in a folder, and the settings that it is set up with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from headwater_agent.install.plan import Site, plan_install, read_settings
from headwater_agent.install.unit_files import SETTINGS
from tests.conftest import skip_or_fail

PYTHON = Path("/opt/headwater/bin/python")
SMALLEST = """\
device = "roof-1"
bundle = "/var/lib/headwater/model"
state = "/var/lib/headwater"
[trust]
allow_unsigned = true
[input]
pattern = "site/{stream}"
"""
RESIDENT = SMALLEST + '[federation]\nenabled = true\ncoordinator = "https://hub.example.org:9092"\n'
TIMED = RESIDENT + 'every = "6h"\n'


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "etc").mkdir()
    return Site(tmp_path)


def needs_systemd() -> None:
    """Skip where nothing of systemd is installed; what sets images up has to be root besides."""
    for program in ("systemd-analyze", "systemd-sysusers", "systemd-tmpfiles", "systemctl"):
        if shutil.which(program) is None:
            skip_or_fail(f"{program} is not installed")
    if os.geteuid() != 0:
        skip_or_fail("setting an image up needs root")


def configure(site: Site, text: str) -> None:
    """Write the settings of the image, as its owner does."""
    path = site.at(SETTINGS)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def installed(site: Site) -> list[str]:
    """Install what the settings ask for; return what was done."""
    said = []
    for step in plan_install(site, read_settings(site), PYTHON, new=None, bundle=None):
        said.append(step.says)
        step.do()
    return said
