from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.cli import app
from tests.agent.federating import PUBLIC_SETTINGS, settings
from tests.agent.test_egress_report import fill
from tests.agent.test_receipts import receipt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A device with a ledger of six entries, two of them confirmed."""
    made = settings(tmp_path)
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    fill(made.exchange_db, (receipt(1), receipt(4, number=2)))
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of ``headwater agent egress`` and all that it says."""
    command = ["agent", "egress", "--settings", str(folder / "agent.toml"), *arguments]
    result = CliRunner(env={"COLUMNS": "140"}).invoke(app, command)
    return result.exit_code, result.output


def changed(folder: Path, sql: str) -> None:
    path = folder / "state" / "exchange" / "exchange.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def test_it_shows_the_newest_day_its_totals_and_the_head(folder: Path) -> None:
    code, text = run(folder)
    assert code == 0
    rows = [line.split() for line in text.splitlines()]
    assert rows[1][:1] + rows[1][3:] == ["4", "checked-in", "4,000", "https://coordinator"]
    assert rows[3][3:] == ["7", "requests", "6,000", "https://coordinator"]
    assert ["1970-01-02", "2", "9,000", "7", "6,000", "2", "checked-in"] in rows
    assert text.splitlines()[-1].startswith("head 6:")


def test_more_days_are_shown_when_asked_for(folder: Path) -> None:
    code, text = run(folder, "--days", "2")
    assert code == 0
    assert "1970-01-01 00:00:00Z  update" in text


def test_verified_it_says_what_holds(folder: Path) -> None:
    code, text = run(folder, "--verify")
    assert code == 0
    assert "The chain is whole: 6 entries" in text
    assert "2 answers are confirmed by receipts, 1 newer ones wait for theirs." in text
    assert "1 older ones have none, the last 2: lost on the way" in text


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE egress SET bytes = 5 WHERE number = 2",
        "DELETE FROM egress WHERE number = 3",
        "DELETE FROM egress WHERE number >= 4",
        "UPDATE receipts SET statement = '{}' WHERE number = 1",
        "UPDATE egress SET arrays = 'x' WHERE number = 5",
    ],
)
def test_a_ledger_that_was_changed_ends_with_its_exit_code(folder: Path, sql: str) -> None:
    changed(folder, sql)
    code, text = run(folder, "--verify")
    assert code == 10
    assert "error: " in text


def test_a_head_that_was_noted_is_compared(folder: Path) -> None:
    noted = run(folder)[1].splitlines()[-1].removeprefix("head ")
    assert run(folder, "--head", noted)[0] == 0
    changed(folder, "DELETE FROM egress WHERE number >= 5")
    assert run(folder, "--verify")[0] == 0
    code, text = run(folder, "--head", noted)
    assert code == 10
    assert "Entry 6 was noted, and the ledger ends with 4." in text
    assert run(folder, "--head", "nonsense")[0] == 2


def test_as_json_it_is_one_object(folder: Path) -> None:
    code, text = run(folder, "--json", "--verify")
    assert code == 0
    found = json.loads(text)
    assert found["verdict"]["complaints"] == []
    assert found["days"][0]["kinds"] == {"checked-in": 2}
    assert found["entries"][0]["line"]["kind"] == "checked-in"


def test_nothing_sent_is_said(tmp_path: Path) -> None:
    settings(tmp_path)
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    assert run(tmp_path) == (0, "Nothing has left this device.\n")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings(tmp_path).exchange.rmdir()
    (tmp_path / "agent.toml").write_text(PUBLIC_SETTINGS)
    code, text = run(tmp_path)
    assert code == 8
    assert "is missing or not yours to read" in " ".join(text.split())
