"""The front door: loads what is asked for, speaks in sentences, ends with the promised code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from headwater import __version__, cli, errors
from headwater.errors import HeadwaterError

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT, *(ROOT / part for part in ("agent", "coordinator", "models", "simulator"))]
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, FOLDERS)), "COLUMNS": "100"}
HEAVY = {"onnx", "onnxruntime", "flwr", "numpy", "river", "paho", "starlette"}


def headwater(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)


def imported_by(*arguments: str) -> set[str]:
    program = (
        "import json, sys\nfrom headwater.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "names = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "print(json.dumps(names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=ENV,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """A part of the test's own, called ``model``."""
    app = typer.Typer()
    app.callback()(lambda: None)
    module = ModuleType("a_part_for_a_test")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    stand_in = replace(cli.PARTS["model"], module=module.__name__)
    monkeypatch.setitem(cli.PARTS, "model", stand_in)
    return app


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), env=environment)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ()])
def test_looking_at_the_front_door_imports_no_part(arguments: tuple[str, ...]) -> None:
    names = imported_by(*arguments)
    assert not names & HEAVY
    assert not {name for name in names if name.startswith("headwater_")}


def test_a_sub_command_imports_its_own_part_only() -> None:
    names = imported_by("model", "--help")
    assert {name for name in names if name.startswith("headwater_")} == {"headwater_models"}
    assert not names & {"onnx", "flwr"}


def test_python_minus_m_is_the_command() -> None:
    done = headwater("--version")
    assert (done.returncode, done.stdout) == (0, f"headwater {__version__}\n")


def test_help_lists_every_part_with_what_it_does() -> None:
    shown = headwater("--help").stdout
    for name, each in cli.PARTS.items():
        assert re.search(rf"{name}\s+{re.escape(each.summary)}", shown)


def test_help_tells_every_exit_code() -> None:
    told = {int(code) for code in re.findall(r"\d+", cli.EXIT_CODES)}
    assert told == {0, 2, 130} | {each.exit_code for each in leaves()}
    assert "130 interrupted" in " ".join(headwater("--help").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("modle",), 2, "No such command 'modle'"),
        (("model", "check"), 2, "Missing argument 'PATH'"),
        (("--log-level", "loud", "model"), 2, "'loud' is not one of"),
        (("model", "check", "/no/such"), 8, "error: There is no bundle at /no/such."),
        (("model", "sign", "x", "--key", "y", "--delegate", "z"), 8, "error: There is no bundle"),
        (("model", "new", "--out", "x", "--spec", "none.toml"), 8, "none.toml cannot be read"),
        (("model", "new", "linear", "--out", "x"), 3, "error: headwater model new: task"),
    ],
)
def test_the_process_ends_with_the_code_of_what_was_wrong(
    arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = headwater(*arguments)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def leaves() -> list[type[HeadwaterError]]:
    return [HeadwaterError, *HeadwaterError.__subclasses__()]


@pytest.mark.parametrize("kind", leaves())
def test_each_error_is_a_sentence_and_its_exit_code(
    part: typer.Typer, kind: type[HeadwaterError]
) -> None:
    @part.command()
    def fail() -> None:
        raise kind("Nothing works.\nNot even this.")

    done = run("model", "fail")
    assert done.exit_code == kind.exit_code
    assert done.stderr == "error: Nothing works.\nerror: Not even this.\n"


def test_an_error_without_words_still_says_what_it_is(part: typer.Typer) -> None:
    @part.command()
    def fail() -> None:
        raise errors.StorageError

    assert run("model", "fail").stderr == "error: StorageError\n"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(("--traceback",), {}), ((), {"HEADWATER_TRACEBACK": "1"})],
)
def test_developers_can_see_where_an_error_came_from(
    part: typer.Typer,
    arguments: tuple[str, ...],
    environment: dict[str, str],
) -> None:
    @part.command()
    def fail() -> None:
        raise errors.BundleError("Broken.")

    done = run(*arguments, "model", "fail", **environment)
    assert done.exit_code == 4
    assert "Traceback" in done.stderr
    assert "BundleError: Broken." in done.stderr


@pytest.mark.parametrize(("package", "extra"), cli.EXTRAS.items())
def test_a_missing_extra_is_named(part: typer.Typer, package: str, extra: str) -> None:
    @part.command()
    def need() -> None:
        raise ModuleNotFoundError(name=f"{package}.inner")

    done = run("model", "need")
    assert done.exit_code == 5
    assert f"pip install 'headwater[{extra}]'" in done.stderr


def test_a_missing_module_of_our_own_is_a_bug_and_not_hidden(part: typer.Typer) -> None:
    @part.command()
    def need() -> None:
        raise ModuleNotFoundError(name="headwater_models.nothing")

    assert isinstance(run("model", "need").exception, ModuleNotFoundError)


def test_the_extras_are_those_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.split(r"[<>=\[]", requirement)[0]: extra
        for extra, requirements in project["optional-dependencies"].items()
        for requirement in requirements
    }
    declared.pop("headwater")
    declared["ray"] = declared.pop("flwr")  # flwr[simulation] brings it
    assert declared == cli.EXTRAS


def test_an_interrupt_ends_with_130(part: typer.Typer) -> None:
    @part.command()
    def wait() -> None:
        raise KeyboardInterrupt

    assert run("model", "wait").exit_code == 130


def test_an_error_of_the_program_itself_is_not_hidden(part: typer.Typer) -> None:
    @part.command()
    def fail() -> None:
        raise ZeroDivisionError

    assert isinstance(run("model", "fail").exception, ZeroDivisionError)


def test_shells_can_complete_the_parts() -> None:
    environment = {
        **ENV,
        "_HEADWATER_COMPLETE": "complete_bash",
        "COMP_WORDS": "headwater co",
        "COMP_CWORD": "1",
    }
    program = "from headwater.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stdout.split() == ["coordinator"]
