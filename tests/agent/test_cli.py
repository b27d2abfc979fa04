"""``headwater agent``: what people type, what they see, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from headwater.errors import BundleError, HeadwaterError, SettingsError, StorageError
from headwater.settings import Duration
from headwater_agent import events
from headwater_agent.cli import WATCH_S, app
from headwater_agent.settings import load_settings
from headwater_agent.sqlite_store import SqliteStore
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from tests.conftest import free_port
from tests.models.bundles import signed, spec, tiny

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT, *(ROOT / part for part in ("agent", "coordinator", "models", "simulator"))]
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, FOLDERS))}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failed(*arguments: str | Path) -> HeadwaterError:
    done = run(*arguments)
    assert isinstance(done.exception, HeadwaterError), done.output
    return done.exception


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A device that was set up with a signed model."""
    signed().save(tmp_path / "model")
    done = run(
        *("init", "--bundle", tmp_path / "model", "--dir", tmp_path / "device"),
        *("--device", "roof-1", "--broker", f"mqtt://127.0.0.1:{free_port()}"),
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "device"


def test_init_sets_a_device_up(folder: Path) -> None:
    settings = load_settings(folder / "agent.toml", {})
    assert settings.device == "roof-1"
    assert (folder / "state" / "agent").stat().st_mode & 0o777 == 0o700
    assert (folder / "state" / "share").stat().st_mode & 0o777 == 0o750
    assert settings.node_key.stat().st_mode & 0o777 == 0o600


def test_init_tells_the_keys_fingerprint_and_what_comes_next(tmp_path: Path) -> None:
    tiny().save(tmp_path / "model")
    done = run("init", "--bundle", tmp_path / "model", "--dir", tmp_path)
    assert "SHA256:" in done.output
    assert f"headwater agent check --settings {tmp_path / 'agent.toml'}" in done.output


def test_init_does_not_touch_a_device_that_is_set_up(folder: Path) -> None:
    before = (folder / "agent.toml").read_text()
    error = failed("init", "--bundle", folder.parent / "model", "--dir", folder)
    assert isinstance(error, StorageError)
    assert "is there already" in str(error)
    assert (folder / "agent.toml").read_text() == before


def test_init_with_a_wrong_name_leaves_nothing_behind(tmp_path: Path) -> None:
    tiny().save(tmp_path / "model")
    error = failed("init", "--bundle", tmp_path / "model", "--dir", tmp_path, "--device", "Roof 1")
    assert isinstance(error, SettingsError)
    assert not (tmp_path / "agent.toml").exists()


def test_check_says_what_is_right(folder: Path) -> None:
    done = run("check", "--settings", folder / "agent.toml")
    assert done.exit_code == 0, done.output
    assert [line[:12].rstrip() for line in done.output.splitlines()] == [
        "ok    settin",
        "ok    model:",
        "ok    input:",
        "ok    state:",
    ]
    assert "signed by trust.publisher" in done.output


def test_check_notes_a_model_that_gets_no_labels_and_can_never_learn(tmp_path: Path) -> None:
    wanted = msgspec.structs.replace(
        spec(), task="regression", target="", horizon=Duration(0), loss="mse"
    )
    built = build(wanted, np.random.default_rng(0))
    Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    ).save(tmp_path / "model")
    run("init", "--bundle", tmp_path / "model", "--dir", tmp_path)
    path = tmp_path / "agent.toml"
    done = run("check", "--settings", path)
    assert done.exit_code == 0, done.output
    assert "note  labels: a regression model learns from labels, and no [labels]" in done.output
    path.write_text(path.read_text() + '\n[labels]\npattern = "labels/{stream}"\n')
    assert "note  " not in run("check", "--settings", path).output


def test_check_says_all_that_is_wrong_and_ends_with_the_first_code(folder: Path) -> None:
    weights = folder.parent / "model" / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    done = run("check", "--settings", folder / "agent.toml", "--connect")
    assert done.exit_code == BundleError.exit_code
    assert "wrong model: " in done.output
    assert "wrong broker: " in done.output
    assert "nothing listens there" in done.output


def test_check_finds_a_unit_that_does_not_fit(folder: Path) -> None:
    path = folder / "agent.toml"
    path.write_text(path.read_text().replace('unit = "m" ', 'unit = "hPa" '))
    done = run("check", "--settings", path)
    assert done.exit_code == SettingsError.exit_code
    assert "wrong input: input 'sensors/{stream}': channels.level.unit" in done.output


def test_check_tries_the_broker(folder: Path, mosquitto: int) -> None:
    path = folder / "agent.toml"
    url = load_settings(path, {}).broker.url
    path.write_text(path.read_text().replace(url, f"mqtt://127.0.0.1:{mosquitto}"))
    done = run("check", "--settings", path, "--connect")
    assert done.exit_code == 0, done.output
    assert "takes the connection" in done.output


def test_check_finds_a_key_that_others_can_read(folder: Path) -> None:
    path = folder / "agent.toml"
    opened = path.read_text().replace("enabled = false", "enabled = true")
    path.write_text(
        opened.replace("# coordinator = ", "coordinator = ").replace("HOST:PORT", "h:1")
    )
    (folder / "state" / "exchange" / "node.key").chmod(0o644)
    done = run("check", "--settings", path)
    assert done.exit_code == StorageError.exit_code
    assert "wrong key: " in done.output


def test_without_settings_it_says_how_to_make_them(tmp_path: Path) -> None:
    for command in ("check", "run", "status"):
        assert "There is no settings file" in str(failed(command, "--settings", tmp_path / "x"))


def test_status_is_a_table_or_one_object(folder: Path) -> None:
    settings = load_settings(folder / "agent.toml", {})
    assert "start the agent once" in str(failed("status", "--settings", folder / "agent.toml"))
    store = SqliteStore(settings.agent_db, signed().manifest, settings.store)
    store.write([events.Store(progress=(("roof", b""),))])
    store.close()
    done = run("status", "--settings", folder / "agent.toml", "--json")
    assert json.loads(done.stdout)["streams"] == [
        {
            "name": "roof",
            "rows": 0,
            "examples": 0,
            "until_ms": None,
            "errors": None,
            "silent": False,
        }
    ]
    assert "roof-1, not running" in run("status", "--settings", folder / "agent.toml").stdout


@pytest.mark.parametrize(
    ("form", "looks"), [((), "roof-1, not"), (("--json",), '"device":"roof-1"')]
)
def test_a_status_that_is_watched_is_shown_until_it_is_interrupted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...], looks: str
) -> None:
    settings = load_settings(folder / "agent.toml", {})
    SqliteStore(settings.agent_db, signed().manifest, settings.store).close()
    slept = iter([None, None])

    def sleep(seconds: float) -> None:
        assert seconds == WATCH_S
        if next(slept, "awake") == "awake":
            raise KeyboardInterrupt

    monkeypatch.setattr("headwater_agent.cli.time.sleep", sleep)
    done = run("status", "--settings", folder / "agent.toml", "--watch", *form)
    assert done.exit_code == 0
    assert done.stdout.count(looks) == 3


def test_federate_without_a_coordinator_says_so(folder: Path) -> None:
    done = run("federate", "--once", "--settings", folder / "agent.toml")
    assert done.exit_code == SettingsError.exit_code


def test_every_command_and_option_has_help() -> None:
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        assert command.help, command.name
        assert all(option.help for option in command.params if option.name != "help"), command.name


def test_as_a_module_an_error_is_a_sentence_and_its_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headwater_agent", "check", "--settings", str(tmp_path / "x")],
        capture_output=True,
        text=True,
        env=ENV,
        check=False,
    )
    assert done.returncode == SettingsError.exit_code
    assert done.stderr.startswith("error: There is no settings file")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("headwater_agent.runtime", "onnx flwr pandas sklearn scipy river"),
        ("headwater_agent.cli", "onnx onnxruntime paho flwr pandas sklearn scipy river"),
    ],
)
def test_importing_the_agent_imports_nothing_heavy(module: str, forbidden: str) -> None:
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENV, check=True
    )
    assert not set(done.stdout.split()) & set(forbidden.split())


def test_check_says_whether_a_river_model_is_shared(folder: Path) -> None:
    text = (folder / "agent.toml").read_text()
    river = '\n[learn.river]\nmodel = "river.{}"\n'
    for model, said in (
        ("linear_model.LinearRegression", "is shared by its weights"),
        ("tree.HoeffdingTreeRegressor", "stays on this device: it has no weights"),
        ("tree.HoeffdingTreeClassifier", "is no river.base.Regressor"),
    ):
        (folder / "agent.toml").write_text(text + river.format(model))
        (line,) = [
            line
            for line in run("check", "--settings", folder / "agent.toml").output.splitlines()
            if "river:" in line
        ]
        assert said in line


def test_export_writes_what_was_learned_and_says_so_where_there_is_nothing(folder: Path) -> None:
    error = failed("export", "-o", folder / "mine", "--settings", folder / "agent.toml")
    assert isinstance(error, StorageError)
    assert "start the agent once" in str(error)
    assert not (folder / "mine").exists()
