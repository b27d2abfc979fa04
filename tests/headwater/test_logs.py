"""Logging: one line for each record, ours from the level asked for, others from warning."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from headwater.logs import (
    FORMAT_VARIABLE,
    SHOWN,
    WINDOW_S,
    JsonLine,
    OneLine,
    Prioritised,
    Stderr,
    configure_logging,
    is_journal,
)


@pytest.fixture(autouse=True)
def _nobody_told_us_how(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a process tells its children is of this test alone."""
    monkeypatch.setenv(FORMAT_VARIABLE, "auto")
    yield
    configure_logging("info", "auto")


def record(message: str, *, failed: bool = False) -> logging.LogRecord:
    made = logging.LogRecord("headwater_agent.store", logging.INFO, "", 0, message, None, None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    if failed:
        error = ValueError("two\nlines")
        made.exc_info = (ValueError, error, None)
    return made


def test_a_line_has_utc_time_level_logger_and_message() -> None:
    assert OneLine().format(record("stored")) == (
        "2023-11-14T22:13:20.250+00:00 INFO headwater_agent.store: stored"
    )


def test_a_message_cannot_begin_a_line_of_its_own() -> None:
    text = OneLine().format(record("a\nERROR forged\r\nb"))
    assert text.endswith("a | ERROR forged | b")


def test_a_traceback_stays_on_its_records_line() -> None:
    text = OneLine().format(record("failed", failed=True))
    assert "\n" not in text
    assert "ValueError: two | lines" in text


def test_ours_speak_from_the_level_asked_for_and_others_from_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    logging.getLogger("headwater_agent").info("ours")
    logging.getLogger("headwater_agent").debug("too quiet")
    logging.getLogger("httpx").info("theirs")
    logging.getLogger("httpx").warning("loud")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[1] for line in err.splitlines()] == ["ours", "loud"]


def test_configuring_twice_does_not_say_everything_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    configure_logging("error")
    logging.getLogger("headwater_models").warning("quiet now")
    logging.getLogger("headwater_models").error("once")
    assert capsys.readouterr().err.count("once") == 1


def test_in_the_journal_a_line_has_its_priority_and_no_time_of_its_own() -> None:
    formatter = Prioritised(OneLine(stamped=False))
    assert formatter.format(record("stored")) == "<6>headwater_agent.store: stored"


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 3),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
        (1, 7),
    ],
)
def test_levels_become_the_priorities_of_syslog(level: int, priority: int) -> None:
    made = record("stored")
    made.levelno = level
    assert Prioritised(OneLine()).format(made).startswith(f"<{priority}>2023")


def test_a_json_line_has_its_fields_by_name() -> None:
    assert json.loads(JsonLine().format(record('a\n"b" \u00b5'))) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "info",
        "logger": "headwater_agent.store",
        "message": 'a\n"b" \u00b5',
    }
    line = JsonLine().format(record("failed", failed=True))
    assert "\n" not in line
    assert "ValueError: two\nlines" in json.loads(line)["traceback"]


def test_a_line_of_code_that_repeats_itself_is_cut_short_and_counted() -> None:
    now = [5.0]
    handler = Stderr(lambda: now[0])
    out = io.StringIO()
    handler.setStream(out)
    handler.setFormatter(OneLine(stamped=False))
    other = record("another line")
    other.lineno = 7
    for number in range(SHOWN + 30):
        handler.emit(record(f"flood {number}"))
    handler.emit(other)
    lines = out.getvalue().splitlines()
    assert lines[SHOWN - 1].endswith(f"flood {SHOWN - 1}")
    assert lines[SHOWN:] == ["headwater_agent.store: another line"]
    now[0] += WINDOW_S
    handler.emit(record("flood again"))
    handler.emit(record("flood again"))
    assert out.getvalue().splitlines()[SHOWN + 1 :] == [
        "headwater_agent.store: flood again (30 more like it were not shown)",
        "headwater_agent.store: flood again",
    ]


def test_debugging_is_never_cut_short() -> None:
    handler = Stderr(lambda: 5.0)
    out = io.StringIO()
    handler.setStream(out)
    made = record("detail")
    made.levelno = logging.DEBUG
    for _ in range(SHOWN + 1):
        handler.emit(made)
    assert len(out.getvalue().splitlines()) == SHOWN + 1


def test_the_journal_is_recognised_by_the_file_that_it_named() -> None:
    reader, writer = os.pipe()
    found = os.fstat(writer)
    named = f"{found.st_dev}:{found.st_ino}"
    assert is_journal(writer, {"JOURNAL_STREAM": named})
    assert not is_journal(writer, {"JOURNAL_STREAM": "1:2"})
    assert not is_journal(writer, {})
    os.close(reader)
    os.close(writer)
    assert not is_journal(writer, {"JOURNAL_STREAM": named})


CHILD = (
    "import logging; from headwater.logs import configure_logging;"
    "configure_logging('info'); logging.getLogger('headwater').info('x')"
)


@pytest.mark.parametrize(
    ("form", "expected"), [("auto", "<6>headwater: x"), ("text", "<6>20"), ("json", '<6>{"time"')]
)
def test_a_child_of_a_service_logs_as_its_parent_was_told(form: str, expected: str) -> None:
    reader, writer = os.pipe()
    found = os.fstat(writer)
    environ = os.environ | {
        "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}",
        FORMAT_VARIABLE: form,
    }
    subprocess.run([sys.executable, "-c", CHILD], check=True, stderr=writer, env=environ)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read().startswith(expected)


def test_the_form_that_was_asked_for_is_passed_on() -> None:
    configure_logging("info", "json")
    assert os.environ[FORMAT_VARIABLE] == "json"
    configure_logging("info")
    assert os.environ[FORMAT_VARIABLE] == "json"
