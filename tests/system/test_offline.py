"""What ``headwater train`` and ``headwater predict`` see is what an agent sees."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from headwater.cli import app
from headwater.settings import Duration
from headwater_agent.blocks import ReservedBlocks
from headwater_agent.codec import Decoder
from headwater_agent.compute import Compute
from headwater_agent.events import (
    Arrived,
    Effect,
    Event,
    Example,
    Infer,
    Label,
    Prediction,
    Publish,
    Record,
    Store,
    Train,
)
from headwater_agent.payload import FieldPath, Refusal, read_time
from headwater_agent.pipeline import Pipeline, carry_out
from headwater_agent.pipeline_settings import LabelRules, LearnerSettings, PipelineSettings
from headwater_agent.releases import first_version
from headwater_agent.rows import StreamRows
from headwater_agent.settings import AgentSettings, Input, TimeField
from headwater_models.bundle import Bundle
from headwater_models.manifest import Grid
from headwater_models.offline.examples import Examples, cut_examples
from headwater_models.offline.grid import join
from headwater_models.offline.recordings import Recording, Roles, read_recordings
from headwater_models.offline.times import read_times
from headwater_models.table import Table, read_all

NAMES = ("level", "flow")
BEGIN = 1_767_225_600_000  # 2026-01-01
MINUTE = 60_000


@dataclass
class Device:
    """An agent's core on a bundle; everything it sees and says is kept."""

    bundle: Bundle
    outside: bool = False
    predictions: list[Prediction] = field(default_factory=list)
    windows: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.compute = Compute(self.bundle)
        rules = LabelRules(outside=self.outside, late=10 * MINUTE)
        settings = PipelineSettings(learn=LearnerSettings(enabled=False), labels=rules)
        version = first_version(self.bundle)
        self.pipeline = Pipeline(self.bundle.manifest, version, settings)

    def receive(self, record: Record, *labels: Label) -> None:
        carry_out(self.pipeline, self.pipeline.feed(Arrived((record,), labels)), self.do)

    def do(self, effect: Effect) -> Event | None:
        match effect:
            case Infer(windows):
                for stream, time, values in zip(
                    windows.streams, windows.times.tolist(), windows.values, strict=True
                ):
                    self.windows[stream, time] = values
                return self.compute.infer(effect)
            case Publish(predictions):
                self.predictions += predictions
            case Store(examples=examples):
                self.examples += examples
            case Train():
                raise AssertionError("learning is off")
        return None


def measured(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Rows as a logger writes them: two tanks, gaps, jitter, repetitions, cells that are lost."""
    time = BEGIN
    for i in range(count):
        time += int(rng.choice([0, 5_000, MINUTE, MINUTE, MINUTE, 2 * MINUTE, 20 * MINUTE]))
        cells = {name: f"{x:.3f}" for name, x in zip(NAMES, rng.normal(5, 2, 2), strict=True)}
        for name in NAMES:
            if rng.random() < 0.15:
                cells[name] = ""
        state = "high" if rng.random() < 0.5 else "low"
        yield {"at": time, "tank": f"tank-{i % 2}", **cells, "state": state}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def decoder(bundle: Bundle) -> Decoder:
    """The agent's, for the rows as JSON."""
    item = Input(
        pattern="in/{stream}", time=TimeField(field="at", format="ms", ahead=Duration(10**15))
    )
    settings = AgentSettings(device="d1", bundle=Path("m"), input=item)
    return Decoder(settings, bundle.manifest)


def replay(device: Device, rows: list[dict[str, Any]]) -> None:
    """Send the rows to the agent as messages, each with its label where labels come so."""
    decode = decoder(device.bundle)
    classes = device.bundle.manifest.classes
    for row in rows:
        cells = {name: float(row[name]) if row[name] else None for name in NAMES}
        payload = json.dumps({"at": row["at"], **cells}).encode()
        records = decode.decode(f"in/{row['tank']}", payload, row["at"], 0)
        assert not isinstance(records, Refusal)
        labels = []
        if device.outside:
            value = float(classes.index(row["state"]))
            labels = [Label(value, stream=row["tank"], time=row["at"])]
        device.receive(records[0])
        for label in labels:
            carry_out(device.pipeline, device.pipeline.feed(Arrived((), (label,))), device.do)


def offline(bundle: Bundle, path: Path, label: str | None = None) -> Examples:
    table, names = read_all([path])
    roles = Roles(time="at", stream="tank", label=label)
    return cut_examples(read_recordings(table, roles, bundle.manifest, names), bundle.manifest)


def command(*arguments: object) -> None:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A table, and two models that were trained on it by the command."""
    folder = tmp_path_factory.mktemp("offline")
    rows = list(measured(np.random.default_rng(0), 2000))
    path = write(folder / "tanks.csv", rows)
    common = [*("--time", "at", "--stream", "tank", "--period", "1min", "--max-gap", "3min")]
    common += ("--hold", "1", "--epochs", "2", "--hidden", "8")
    forecast = ("--target", "level", "--horizon", "2min", "--window", "4", "--clock")
    command("train", path, "-o", folder / "forecast", *common, *forecast)
    command("train", path, "-o", folder / "classes", *common, "--label", "state", "--window", "3")
    return folder, rows


def test_a_forecast_is_the_agents_own(places: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = places
    device = Device(Bundle.load(folder / "forecast"))
    replay(device, rows)
    command("predict", folder / "forecast", folder / "tanks.csv", "-o", folder / "said.jsonl")
    said = [json.loads(line) for line in (folder / "said.jsonl").read_text().splitlines()]
    ours = {(p["stream"], p["time"]): p["prediction"] for p in said}
    theirs = {(p.stream, iso(p.time)): float(p.released[0]) for p in device.predictions}
    assert len(theirs) > 800
    assert ours.keys() == theirs.keys()
    for key, prediction in theirs.items():
        assert ours[key] == pytest.approx(prediction, rel=1e-6, abs=1e-6)
    compare(device, offline(device.bundle, folder / "tanks.csv"))


def test_a_classification_and_its_labels_are_the_agents_own(
    places: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, rows = places
    device = Device(Bundle.load(folder / "classes"), outside=True)
    replay(device, first_of_each_slot(rows))
    path = write(folder / "firsts.csv", first_of_each_slot(rows))
    compare(device, offline(device.bundle, path, label="state"))


def compare(device: Device, examples: Examples) -> None:
    """Windows equal, cell by cell; and labels, of all that the agent may learn from or judge by."""
    windows = examples.windows(np.arange(len(examples)))
    times = examples.times.tolist()
    keys = [(examples.names[at], time) for at, time in zip(examples.stream, times, strict=True)]
    assert set(keys) == set(device.windows)
    for key, window in zip(keys, windows, strict=True):
        np.testing.assert_array_equal(window, device.windows[key])
    labels = dict(zip(keys, examples.labels.tolist(), strict=True))
    assert len(device.examples) > 200
    for example in device.examples:
        assert labels[example.stream, example.time] == example.label
    known = {key for key, label in labels.items() if np.isfinite(label)}
    kept = {(example.stream, example.time) for example in device.examples}
    assert kept <= known
    blocks = ReservedBlocks(device.bundle.manifest)
    assert all(blocks.stretch(*key)[2] == "embargo" for key in known - kept)


def first_of_each_slot(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without repetitions, so that row and label of a slot come together."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        found.setdefault((row["tank"], row["at"] // MINUTE), row)
    return list(found.values())


def iso(time: int) -> str:
    seconds, millis = divmod(time, 1000)
    return f"{np.datetime64(seconds, 's')}.{millis:03d}Z"


times_of = st.lists(st.integers(0, 300), min_size=1, max_size=25)
CELLS = st.sampled_from([1.0, 2.0, np.nan])


@given(
    times_of,
    st.data(),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from([0, 5, 10, 25, 40]),
)
def test_rows_are_the_agents_whatever_comes_when(
    times: list[int], data: st.DataObject, max_gap: int, hold: int, lateness: int
) -> None:
    count = len(times)
    row = st.tuples(CELLS, CELLS)
    values = np.array(data.draw(st.lists(row, min_size=count, max_size=count)), np.float32)
    at = np.sort(np.array(times, np.int64))
    grid = Grid(
        period=Duration(10),
        max_gap=Duration(10 * max_gap),
        hold=hold,
        lateness=Duration(lateness),
    )
    joined = join(
        Recording("s", "s", at, values, np.zeros(count, np.bool_), np.zeros(count, np.float32)),
        grid,
    )
    agent = StreamRows("s", grid, 2)
    rows = []
    for time, cells in zip(at.tolist(), values, strict=True):
        record = Record("s", time, cells, np.ones(2, np.bool_))
        if agent.accepts(record):
            rows += list(agent.add(record))
    assert [one.slot for one in rows] == joined.slots[: len(rows)].tolist()
    if not lateness:
        assert len(rows) == len(joined.slots)
    for one, cells, observed in zip(rows, joined.cells, joined.observed, strict=False):
        np.testing.assert_array_equal(one.values, cells)
        np.testing.assert_array_equal(one.observed, observed)


@pytest.mark.parametrize("cell", ["2026-10-01T06:00:00Z", "2026-10-01 06:00:00", "1790834400.25"])
def test_times_are_read_as_the_agent_reads_them(cell: str) -> None:
    iso_text = "-" in cell
    field_of = TimeField(field="t", format="iso8601" if iso_text else "s")
    expected = read_time(field_of, FieldPath("t"), {"t": cell}, 2 * BEGIN)
    assert read_times(Table("x", "", {"t": [cell]}), "t").tolist() == [expected]
