"""Logging: one line for each record, ours from the level asked for, others from warning."""

from __future__ import annotations

import logging

import pytest

from headwater.logs import OneLine, configure_logging


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
