"""A report is read as it was written, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_simulator.report import results
from tests.simulator.report import made


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    for number, run in enumerate((made.results(), made.empty(), made.hostile())):
        file = tmp_path / f"{number}.json"
        file.write_bytes(results.encode(run))
        assert results.read(file) == run


def test_equal_results_have_equal_bytes() -> None:
    assert results.encode(made.results()) == results.encode(made.results())
    assert results.encode(made.results()) != results.encode(made.results(seed=2))


def test_a_folder_stands_for_the_report_in_it(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(results.encode(made.results()))
    assert results.read(tmp_path) == made.results()
    assert results.read_runs(tmp_path) == (made.results(),)


def test_runs_with_several_seeds_lie_in_folders_side_by_side(tmp_path: Path) -> None:
    for seed in (2, 1):
        (tmp_path / f"seed-{seed}").mkdir()
        file = tmp_path / f"seed-{seed}" / "report.json"
        file.write_bytes(results.encode(made.results(seed=seed)))
    assert [run.seed for run in results.read_runs(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no report of a simulation"),
        (b"[1]", "no report of a simulation"),
        (b"\xff\xfe", "no report of a simulation"),
        (b'{"format": 1}', "missing required field"),
        (b'{"format": 2, "name": "x"}', "newer Headwater"),
    ],
)
def test_what_is_no_report_is_refused_in_words(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    with pytest.raises(StorageError, match=words) as refused:
        results.read(file)
    assert str(file) in str(refused.value)


def test_a_report_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        results.read(tmp_path / "away.json")
    with pytest.raises(StorageError, match=r"holds no report\.json"):
        results.read_runs(tmp_path)


def test_a_file_that_is_far_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_BYTES", 10)
    (tmp_path / "report.json").write_bytes(results.encode(made.results()))
    with pytest.raises(StorageError, match="over 10 bytes"):
        results.read(tmp_path)
