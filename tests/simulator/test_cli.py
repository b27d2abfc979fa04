"""``headwater demo`` refuses what cannot work before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.errors import HeadwaterError, SettingsError, StorageError, UnreachableError
from headwater_simulator.broker import free_ports
from headwater_simulator.cli import app


def failure(*arguments: str) -> HeadwaterError:
    found = CliRunner().invoke(app, list(arguments))
    assert isinstance(found.exception, HeadwaterError)
    return found.exception


def test_help_names_every_option() -> None:
    found = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"})

    assert found.exit_code == 0
    for option in ("--devices", "--seconds", "--broker", "--keep", "--json"):
        assert option in found.output


def test_a_folder_that_is_there_already_is_never_written_to(tmp_path: Path) -> None:
    error = failure("--keep", str(tmp_path))

    assert isinstance(error, StorageError)
    assert "not there yet" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_is_away_is_named_at_once() -> None:
    (port,) = free_ports(1)

    error = failure("--broker", f"mqtt://127.0.0.1:{port}")

    assert isinstance(error, UnreachableError)
    assert f"mqtt://127.0.0.1:{port}" in str(error)


def test_an_address_that_is_none_is_refused() -> None:
    assert isinstance(failure("--broker", "here"), SettingsError)


@pytest.mark.parametrize("arguments", [["--devices", "0"], ["--seconds", "1"]])
def test_sizes_out_of_range_are_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
