from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.errors import SettingsError
from headwater_models.offline.fit import Course, Epoch
from headwater_models.offline.recordings import Wishes
from headwater_models.offline.schema import Schema
from headwater_models.offline.training import Plan, Trained, Watcher, train
from tests.models.offline.tables import table, waves

COURSE = Course(epochs=15, patience=3)
FAST = {"learning_rate": 0.02, "batch": 64}


def trained(columns: dict[str, list[object]], wishes: Wishes, **fields: Any) -> Trained:
    plan = Plan(wishes=wishes, fields={"optimiser": FAST} | fields, course=COURSE)
    return train(table(columns), ["x"] * len(columns["time"]), plan)


def value(made: Trained, name: str) -> float:
    return next(m.model.value for m in made.judged.metrics if m.name == name)


def test_a_forecast_learns_what_flows_before_the_level_rises() -> None:
    made = trained(waves(1500), Wishes(), target="level", window=3, kind="linear")
    assert made.split.kind == "chronological"
    assert value(made, "mean absolute error, as a share of the baseline's") < 0.3
    assert made.bundle.manifest.target == "level"


def test_classes_are_learned_and_judged_on_groups_never_seen() -> None:
    columns = waves(200, streams=8)
    made = trained(columns, Wishes(label="state", group="tank"), kind="mlp")
    assert made.split.kind == "grouped"
    assert value(made, "accuracy") > 0.95
    assert made.judged.confusion is not None
    assert sum(map(sum, made.judged.confusion)) == len(made.split.test)


def test_a_regression_predicts_the_column_that_is_named() -> None:
    made = trained(waves(800), Wishes(label="level", ignore=("state",)), window=2, kind="linear")
    assert [channel.name for channel in made.bundle.manifest.channels] == ["flow"]
    assert value(made, "mean absolute error, as a share of the baseline's") < 0.3


def test_without_a_target_it_learns_what_is_usual() -> None:
    columns = waves(600)
    columns["odd"] = [int(i >= 560) for i in range(600)]
    for i in range(560, 600):
        columns["level"][i] = "9.0"
    made = trained(columns, Wishes(label="odd"), task="anomaly", window=4, hidden=[4])
    assert made.bundle.manifest.task == "anomaly"
    assert value(made, "area under the ROC curve") > 0.9


def test_the_scaling_knows_nothing_of_what_comes_after_the_training_part() -> None:
    calm, wild = waves(600), waves(600)
    for i in range(480, 600):
        wild["flow"][i] = "50.0"
    first, second = (
        trained(columns, Wishes(), target="level", window=2, kind="linear", channels=CHANNELS)
        for columns in (calm, wild)
    )
    assert first.split.cuts[0] == second.split.cuts[0]
    assert first.bundle.infer == second.bundle.infer


CHANNELS = [
    {"name": "level", "minimum": -100, "maximum": 100},
    {"name": "flow", "minimum": -100, "maximum": 100},
]


def test_the_same_seed_gives_the_same_version() -> None:
    fields = {"target": "level", "window": 2}
    data = table(waves(300))
    first, second, other = (
        train(data, ["x"] * 300, Plan(fields=fields, course=Course(epochs=1), seed=seed))
        for seed in (3, 3, 4)
    )
    assert first.bundle.version_id == second.bundle.version_id
    assert other.bundle.version_id != first.bundle.version_id


def test_a_file_with_the_specification_is_overridden_by_wishes(tmp_path: Path) -> None:
    spec = tmp_path / "tank.toml"
    spec.write_text('target = "level"\nkind = "linear"\nwindow = 3\n[optimiser]\nbatch = 16\n')
    plan = Plan(spec=spec, fields={"window": 4}, course=Course(epochs=1))
    made = train(table(waves(300)), ["x"] * 300, plan).bundle.manifest
    assert (made.window, made.optimiser.batch, made.target) == (4, 16, "level")


def test_channels_and_categories_may_be_said_as_texts() -> None:
    plan = Plan(
        fields={
            "target": "level",
            "window": 2,
            "channels": ["level:m:-10:10", "flow"],
            "categories": ["state"],
            "log": ["flow"],
        },
        course=Course(epochs=1),
    )
    made = train(table(waves(300)), ["x"] * 300, plan).bundle.manifest
    assert [(c.name, c.unit, c.categories) for c in made.channels] == [
        ("level", "m", ()),
        ("flow", "", ()),
        ("state", "", ("high", "low")),
    ]


def test_the_watcher_is_told_of_every_step() -> None:
    class Listener(Watcher):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def read(self, schema: Schema) -> None:
            self.heard.append(schema.fields["task"])

        def divided(self, split: object, examples: object) -> None:
            self.heard.append("divided")

        def passed(self, epoch: Epoch) -> None:
            self.heard.append(str(epoch.number))

    listener = Listener()
    plan = Plan(fields={"target": "level", "window": 2}, course=Course(epochs=2))
    train(table(waves(300)), ["x"] * 300, plan, listener)
    assert listener.heard == ["forecast", "divided", "0", "1", "2"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target": "state"}, "target 'state' must name one of the channels"),
        ({"target": "level", "horizon": "90s"}, "horizon must be a multiple of grid.period"),
        ({"target": "level", "kind": "tree"}, "--kind: expected one of linear, mlp"),
        ({"target": "level", "window": 400}, "No window has a label"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        train(table(waves(300)), ["x"] * 300, Plan(fields=fields))
