"""Whoever leaves a request as a file is told what became of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headwater_models.requested import ANSWER, REQUEST, Answer, await_answer, settle, sweep


def left(folder: Path) -> Path:
    path = folder / f"one{REQUEST}"
    path.write_bytes(b"{}")
    return path


def test_who_waits_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = left(tmp_path)
    program = threading.Timer(0.2, settle, (path, Answer(True, "Forgotten.")))
    program.start()
    assert await_answer(path, lambda: True) == Answer(True, "Forgotten.")
    program.join()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("alive", "patience_s"), [(False, 60.0), (True, 0.0)])
def test_nobody_waits_for_a_program_that_is_not_there_or_for_ever(
    tmp_path: Path, alive: bool, patience_s: float
) -> None:
    path = left(tmp_path)
    assert await_answer(path, lambda: alive, patience_s) is None
    assert path.exists()


def test_a_request_is_settled_where_its_answer_cannot_be_written(tmp_path: Path) -> None:
    path = left(tmp_path)
    path.with_suffix(ANSWER).mkdir()
    settle(path, Answer(True, ""))
    assert not path.exists()


def test_answers_that_nobody_waited_for_are_swept_away(tmp_path: Path) -> None:
    path = left(tmp_path)
    (tmp_path / f"other{ANSWER}").write_bytes(b"")
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
