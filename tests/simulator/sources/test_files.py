"""Files are understood as ``headwater train`` does, and refused in the words of a scenario."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.errors import SettingsError, StorageError
from headwater_models.offline.recordings import Wishes
from headwater_simulator.sources.files import KEYS, in_words_of_a_scenario, read_files

FIELDS = {"grid": {"period": "1h"}, "window": 1}


def write(folder: Path, *lines: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_roles_channels_classes_and_scales_come_from_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y,kind", "1,10,good", "3,10.5,bad", "5,,good")
    reading = read_files([path], Wishes(label="kind"), FIELDS)
    facts = reading.facts
    assert (facts.task, facts.classes, facts.loss) == (
        "classification",
        ("bad", "good"),
        "cross_entropy",
    )
    assert [channel.name for channel in facts.channels] == ["x", "y"]
    assert (facts.channels[0].minimum, facts.channels[0].maximum) == (0.0, 7.0)
    assert facts.scaling is not None
    assert facts.scaling.mean == (3.0, 10.25)
    (recording,) = reading.recordings()
    np.testing.assert_array_equal(recording.labels, [1, 0, 1])
    np.testing.assert_array_equal(recording.values[:, 0], [1, 3, 5])


@pytest.mark.parametrize(
    ("lines", "wishes", "words"),
    [
        (("x,y", "1,2", "2,oops", *(["3,4"] * 20)), Wishes(label="x"), r"column y, row 2: 'oops'"),
        (("x,y", "1,2"), Wishes(label="z"), r"a\.csv has no column 'z'; it has x, y"),
        (
            ("t,x", "2026-01-01,1", "soon,2", "2026-01-03,4"),
            Wishes(label="x", time="t"),
            r"column t, row 2: 'soon' is no time .*; mend the row, or name .* with data\.time",
        ),
        (("x,y", "1,2", "2,2"), Wishes(label="y"), r"data\.label|nothing to tell apart"),
    ],
)
def test_what_is_wrong_is_named_by_file_column_and_row_and_no_option_is(
    tmp_path: Path, lines: tuple[str, ...], wishes: Wishes, words: str
) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(SettingsError, match=words) as caught:
        read_files([path], wishes, FIELDS).recordings()
    assert "--" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.csv"):
        read_files([tmp_path / "gone.csv"], Wishes(label="y"), FIELDS)


def test_options_are_called_by_their_keys() -> None:
    expected = pytest.raises(SettingsError, match=r"^name it with data\.time or data\.period$")
    with expected, in_words_of_a_scenario():
        raise SettingsError("name it with --time or --period")
    assert all(key.startswith("data.") for key in KEYS.values())
