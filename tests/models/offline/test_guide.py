"""The commands of docs/training.md run as they are written, on small files of the same form."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from headwater.cli import app
from headwater_models.bundle import Bundle
from tests.models.offline.tables import write_csv

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "training.md"
HOURS = 400


def commands() -> list[list[str]]:
    """Every command of the guide's blocks, in order."""
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    said = [line.removeprefix("$ ") for line in lines]
    return [shlex.split(line)[1:] for line in said if line.startswith("headwater ")]


def tanks(path: Path, seed: int) -> None:
    """A level and what flows in, every ten minutes."""
    rng = np.random.default_rng(seed)
    times = np.datetime64("2026-01-01T00:00") + np.arange(900) * np.timedelta64(10, "m")
    flow = rng.normal(5, 1, 900)
    level = np.cumsum(flow - 5) + 50
    write_csv(path, {"time": times.tolist(), "level": level.tolist(), "flow": flow.tolist()})


def station(path: Path, seed: int) -> None:
    """Hours of a station, in columns as the UCI's Beijing data have them."""
    rng = np.random.default_rng(seed)
    times = (np.datetime64("2013-03-01T00") + np.arange(HOURS)).tolist()
    fine = rng.lognormal(4, 1, HOURS)
    write_csv(
        path,
        {
            "No": range(1, HOURS + 1),
            "year": [time.year for time in times],
            "month": [time.month for time in times],
            "day": [time.day for time in times],
            "hour": [time.hour for time in times],
            "PM2.5": ["NA" if i % 40 == 7 else f"{x:.0f}" for i, x in enumerate(fine)],
            "PM10": [f"{x * 1.3:.0f}" for x in fine],
            "wd": rng.choice(["N", "NNW", "E"], HOURS).tolist(),
            "station": [path.stem] * HOURS,
        },
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "beijing").mkdir()
    for seed, name in enumerate(("Aotizhongxin", "Gucheng")):
        station(tmp_path / "beijing" / f"{name}.csv", seed)
    for seed, name in enumerate(("tanks", "january")):
        tanks(tmp_path / f"{name}.csv", seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_runs_as_it_is_written(folder: Path) -> None:
    said = commands()
    assert [" ".join(words[:1]) for words in said] == ["train", "predict", "agent", "train"]
    for words in said:
        files = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
        done = CliRunner().invoke(app, [word for found in files for word in found])
        assert done.exit_code == 0, f"{words}: {done.output}"
    assert (folder / "january-said.csv").exists()
    bundle = Bundle.load(folder / "pm25")
    assert [channel.name for channel in bundle.manifest.channels] == ["PM2.5", "PM10", "wd"]
    assert bundle.facts["data"]["columns"] == {"time": "year,month,day,hour"}
    assert bundle.facts["data"]["times"][0] == "2013-03-01T23:00:00Z"
