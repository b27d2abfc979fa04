"""Installing into an image: what is there afterwards, whose it is, and what a second time does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater_agent.install.plan import (
    STATE,
    Site,
    check_interpreter,
    plan_install,
    plan_uninstall,
    read_settings,
)
from headwater_agent.install.unit_files import (
    AGENT,
    FEDERATE,
    RESIDENT,
    SETTINGS,
    SYSUSERS,
    TIMER,
    UNITS,
)
from tests.agent.install import image
from tests.agent.install.image import (
    PYTHON,
    SMALLEST,
    TIMED,
    configure,
    installed,
    needs_systemd,
    site,
)

__all__ = ["site"]

WANTS = UNITS / "multi-user.target.wants"


def ids(site: Site, file: str) -> dict[str, int]:
    """The names of an image's users or groups."""
    rows = [line.split(":") for line in site.at(Path("/etc") / file).read_text().splitlines()]
    return {name: int(number) for name, _, number, *_ in rows}


def mode(site: Site, path: Path) -> tuple[str, int, int]:
    found = site.at(path).stat()
    return stat.filemode(found.st_mode), found.st_uid, found.st_gid


def uninstall(site: Site, *, purge: bool) -> list[str]:
    said = []
    for step in plan_uninstall(site, STATE, purge=purge):
        said.append(step.says)
        step.do()
    return said


def test_each_process_owns_its_folder_and_the_measurements_are_the_agents_alone(
    site: Site,
) -> None:
    needs_systemd()
    configure(site, image.RESIDENT)
    installed(site)
    users, groups = ids(site, "passwd"), ids(site, "group")
    agent, client, group = (
        users["headwater-agent"],
        users["headwater-federation"],
        groups["headwater"],
    )
    assert mode(site, STATE) == ("drwxr-xr-x", 0, 0)
    assert mode(site, STATE / "agent") == ("drwx------", agent, group)
    assert mode(site, STATE / "agent" / "requests") == ("drwx------", agent, group)
    assert mode(site, STATE / "share") == ("drwxr-x---", agent, group)
    assert mode(site, STATE / "exchange") == ("drwxr-x---", client, group)
    assert mode(site, STATE / "exchange" / "node.key") == ("-rw-------", client, group)
    assert mode(site, SETTINGS) == ("-rw-r-----", 0, group)


def test_services_start_with_the_machine(site: Site) -> None:
    needs_systemd()
    configure(site, image.RESIDENT)
    installed(site)
    started = sorted(path.name for path in site.at(WANTS).iterdir())
    assert started == sorted([AGENT, RESIDENT])


def test_a_second_time_nothing_is_written_and_the_key_is_the_same(site: Site) -> None:
    needs_systemd()
    configure(site, image.RESIDENT)
    installed(site)
    key = site.at(STATE / "exchange" / "node.key").read_bytes()
    assert not any(said.startswith(("write", "make", "remove")) for said in installed(site))
    assert site.at(STATE / "exchange" / "node.key").read_bytes() == key
    assert site.at(SETTINGS).read_text() == image.RESIDENT


def test_a_client_that_is_to_come_from_a_timer_takes_the_place_of_one_that_stays(
    site: Site,
) -> None:
    needs_systemd()
    configure(site, image.RESIDENT)
    installed(site)
    configure(site, TIMED)
    installed(site)
    units = {path.name for path in site.at(UNITS).iterdir() if path.is_file()}
    assert units == {AGENT, FEDERATE, TIMER}
    assert [path.name for path in site.at(WANTS).iterdir()] == [AGENT]
    configure(site, SMALLEST)
    installed(site)
    assert {path.name for path in site.at(UNITS).iterdir() if path.is_file()} == {AGENT}


def test_uninstalling_leaves_settings_and_data(site: Site) -> None:
    needs_systemd()
    configure(site, TIMED)
    installed(site)
    uninstall(site, purge=False)
    assert not list(site.at(UNITS).rglob("headwater*"))
    assert not site.at(SYSUSERS).exists()
    assert site.at(SETTINGS).exists()
    assert site.at(STATE / "exchange" / "node.key").exists()
    assert "headwater-agent" in ids(site, "passwd")


def test_purging_leaves_nothing_but_what_others_put_there(site: Site) -> None:
    needs_systemd()
    configure(site, TIMED)
    installed(site)
    site.at(STATE / "notes.txt").write_text("the owner's")
    uninstall(site, purge=True)
    assert not site.at(SETTINGS.parent).exists()
    assert [path.name for path in site.at(STATE).iterdir()] == ["notes.txt"]
    assert "headwater" not in site.at(Path("/etc/passwd")).read_text()
    assert "headwater" not in site.at(Path("/etc/group")).read_text()


def test_uninstalling_what_was_never_installed_does_nothing(site: Site) -> None:
    assert uninstall(site, purge=True) == [f"remove {site.at(STATE)}, if nothing else is in it"]


def test_new_settings_are_written_and_the_services_wait_for_their_owner(site: Site) -> None:
    settings = read_settings(site, SMALLEST)
    planned = list(plan_install(site, settings, PYTHON, new=SMALLEST, bundle=Path("/a/model")))
    said = [step.says for step in planned]
    assert said[0] == f"write {site.at(SETTINGS)}"
    assert said[1] == f"copy /a/model to {site.at(STATE / 'model')}"
    assert not any("start" in line for line in said)


def test_on_the_machine_itself_a_changed_service_is_restarted_and_others_are_started() -> None:
    here = Site(Path("/"))
    settings = read_settings(here, SMALLEST)
    said = [step.says for step in plan_install(here, settings, PYTHON, new=None, bundle=None)]
    assert said[-2:] == [
        f"run systemctl enable {AGENT}",
        f"run systemctl --no-block restart {AGENT}",
    ]
    assert "run systemctl daemon-reload" in said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bundle", "/home/pi/model", "bundle: services cannot use /home/pi/model"),
        ("bundle", "../../root/model", "do not see what is in /root"),
        ("state", "/tmp/state", "state: services cannot use /tmp/state"),
        ("state", "/srv/my state", "state: services cannot use /srv/my state"),
    ],
)
def test_a_path_that_services_do_not_see_is_named(
    site: Site, key: str, value: str, said: str
) -> None:
    lines = [line for line in SMALLEST.splitlines() if not line.startswith(key)]
    with pytest.raises(SettingsError, match=said):
        read_settings(site, "\n".join([f'{key} = "{value}"', *lines]))


def test_a_certificate_in_a_home_is_named(site: Site) -> None:
    broker = '[broker]\nurl = "mqtts://b:8883"\nca = "/root/ca.pem"\n'
    with pytest.raises(SettingsError, match=r"broker\.ca"):
        read_settings(site, SMALLEST + broker)


def test_a_relative_state_folder_lies_beside_the_settings(site: Site) -> None:
    text = SMALLEST.replace("/var/lib/headwater", "data", 2)
    assert read_settings(site, text).state == SETTINGS.parent / "data"


def test_an_interpreter_in_a_home_or_a_link_to_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="python3 -m venv /opt/headwater"):
        check_interpreter(Site(tmp_path), Path("/home/pi/venv/bin/python"))
    check_interpreter(Site(tmp_path), PYTHON)


def test_a_link_into_a_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "resolve", lambda _: Path("/root/.pyenv/bin/python3.11"))
    with pytest.raises(SettingsError, match="/root"):
        check_interpreter(Site(Path("/")), PYTHON)
