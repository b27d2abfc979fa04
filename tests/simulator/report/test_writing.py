"""A report is three files, whole, and none is overwritten unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_simulator.report import writing
from headwater_simulator.report.markdown import markdown
from headwater_simulator.report.page import page
from headwater_simulator.report.results import read
from headwater_simulator.report.writing import FILES, require_free, write
from tests.simulator.report import made


def test_the_three_files_are_those_of_the_results(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write(made.results(), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert read(folder) == made.results()
    assert (folder / "report.md").read_text() == markdown(made.results())
    assert (folder / "report.html").read_text() == page(made.results())


@pytest.mark.parametrize("name", FILES)
def test_a_report_is_not_overwritten_unasked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(StorageError, match=f"holds {name} already"):
        write(made.results(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write(made.results(), tmp_path, overwrite=True)
    assert read(tmp_path) == made.results()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    require_free(tmp_path)
    write(made.results(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_whose_page_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise ValueError

    monkeypatch.setattr(writing, "page", broken)
    with pytest.raises(ValueError, match=r"^$"):
        write(made.results(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_no_folder_can_be_made_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        write(made.results(), tmp_path / "file" / "folder")
