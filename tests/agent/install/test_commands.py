"""``headwater agent install`` and ``uninstall``, as a person types them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headwater.errors import HeadwaterError, SettingsError, StorageError, UnsupportedError
from headwater_agent.cli import app
from headwater_agent.install import commands
from headwater_agent.install.plan import Site
from headwater_agent.install.unit_files import SETTINGS
from tests.agent.install.image import PYTHON, SMALLEST, TIMED, configure, needs_systemd, site
from tests.models.bundles import signed

__all__ = ["site"]


def run(site: Site, *arguments: str) -> Result:
    words = [*arguments, "--prefix", str(site.root)]
    return CliRunner().invoke(app, words, standalone_mode=False)


def install(site: Site, *arguments: str) -> Result:
    return run(site, "install", "--python", str(PYTHON), *arguments)


def error(result: Result) -> HeadwaterError:
    assert isinstance(result.exception, HeadwaterError)
    return result.exception


def test_a_dry_run_says_everything_and_does_nothing(site: Site) -> None:
    configure(site, TIMED)
    before = sorted(site.root.rglob("*"))
    result = install(site, "--dry-run")
    lines = result.stdout.splitlines()
    assert all(line.startswith("would ") for line in lines)
    assert f"would write {site.root}/etc/systemd/system/headwater-agent.service" in lines
    assert f"would run systemd-sysusers --root={site.root} headwater.conf" in lines
    assert sorted(site.root.rglob("*")) == before
    result = run(site, "uninstall", "--purge", "--dry-run")
    assert f"would remove {site.root}/etc/headwater" in result.stdout
    assert sorted(site.root.rglob("*")) == before


def test_a_new_device_gets_settings_a_model_and_a_key(site: Site, tmp_path: Path) -> None:
    needs_systemd()
    signed().save(tmp_path / "model.zip")
    hub = "https://hub.example.org:9092"
    result = install(site, "--bundle", str(tmp_path / "model.zip"), "--coordinator", hub)
    assert result.exception is None, result.exception
    text = site.at(SETTINGS).read_text()
    assert 'bundle = "/var/lib/headwater/model"' in text
    assert 'state = "/var/lib/headwater"' in text
    assert f'coordinator = "{hub}"' in text
    assert site.at(Path("/var/lib/headwater/model/infer.onnx")).exists()
    assert (
        f"The coordinator enrols {site.root}/var/lib/headwater/exchange/node.pub." in result.stdout
    )
    assert "install again to start" in result.stdout
    site.at(SETTINGS).write_text(text + "# mine\n")
    assert install(site).exception is None
    assert site.at(SETTINGS).read_text().endswith("# mine\n")
    assert run(site, "uninstall", "--purge").exception is None
    assert not site.at(SETTINGS).exists()


def test_without_settings_or_a_model_it_says_what_to_name(site: Site) -> None:
    assert "--bundle" in str(error(install(site)))


def test_settings_that_are_wrong_are_named_and_nothing_is_touched(site: Site) -> None:
    configure(site, SMALLEST + "[broker]\nqos = 5\n")
    before = sorted(site.root.rglob("*"))
    assert isinstance(error(install(site)), SettingsError)
    assert isinstance(error(run(site, "uninstall", "--purge")), SettingsError)
    assert sorted(site.root.rglob("*")) == before


def test_whoever_is_not_root_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(site, SMALLEST)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in (("install", "--python", str(PYTHON)), ("uninstall",)):
        problem = error(run(site, *words))
        assert isinstance(problem, StorageError)
        assert "sudo" in str(problem)


def test_a_machine_without_systemd_is_told_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(commands, "BOOTED", tmp_path / "absent")
    result = CliRunner().invoke(app, ["uninstall"], standalone_mode=False)
    assert isinstance(result.exception, UnsupportedError)
    assert "--prefix" in str(result.exception)
