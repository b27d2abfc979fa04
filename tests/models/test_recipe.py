"""Specifications: flags over the file, the file over the data, the data over the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater.errors import SettingsError, StorageError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.recipe import specify
from headwater_models.table import Table

FILE = """\
kind = "linear"
name = "river"
task = "forecast"
channels = ["level:m:0:10", { name = "rain", unit = "mm", minimum = 0, maximum = 50 }]
grid = { period = "1min", max_gap = "5min" }
window = 3
target = "level"
horizon = "2min"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "river.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Table:
    path = tmp_path / "river.csv"
    path.write_text("level,rain,state,flow\n2,0,dry,1\n4,40,wet,5\n99,20,wet,3\n")
    return Table.read(path)


def flags(**given: Any) -> dict[str, Any]:
    return {
        "kind": "linear",
        "task": "forecast",
        "grid": {"period": "1min"},
        "window": 3,
        "target": "level",
        "horizon": "2min",
        **given,
    }


def test_a_file_alone_is_enough(file: Path) -> None:
    spec = specify({}, file=file)
    assert (spec.kind, spec.name, spec.target, spec.window) == ("linear", "river", "level", 3)
    assert [(c.name, c.unit, c.maximum) for c in spec.channels] == [
        ("level", "m", 10.0),
        ("rain", "mm", 50.0),
    ]


def test_flags_override_the_file_and_leave_the_rest(file: Path) -> None:
    spec = specify({"window": 9, "name": None, "grid": {"hold": 2, "max_gap": None}}, file=file)
    assert (spec.window, spec.name, spec.grid.hold) == (9, "river", 2)
    assert (spec.grid.period, spec.grid.max_gap) == (60_000, 300_000)


def test_the_gap_is_one_period_and_the_reserved_block_four_embargoes_by_default() -> None:
    spec = specify(flags(channels=["level:m:0:10"]))
    assert spec.grid.max_gap == 60_000
    assert spec.reserve.block == 4 * (3 + 2) * 60_000
    assert spec.name == "linear"


@pytest.mark.parametrize(
    ("task", "loss"),
    [("forecast", "mae"), ("regression", "mse"), ("classification", "cross_entropy")],
)
def test_each_task_has_its_loss(task: str, loss: str) -> None:
    assert specify(flags(channels=["level:m:0:10"], task=task)).loss == loss


def test_channels_and_ranges_come_from_the_data(data: Table) -> None:
    spec = specify(flags(), data=data)
    assert [(c.name, c.minimum, c.maximum) for c in spec.channels] == [
        ("level", 0.0, 147.5),
        ("rain", 0.0, 60.0),
        ("flow", 0.0, 7.0),
    ]


def test_a_range_that_is_given_stands_against_the_data(data: Table) -> None:
    spec = specify(flags(channels=["level:m:0:10", "flow:m3/s"]), data=data)
    assert [(c.name, c.unit, c.maximum) for c in spec.channels] == [
        ("level", "m", 10.0),
        ("flow", "m3/s", 7.0),
    ]


def test_scales_are_those_of_the_data_within_range(data: Table) -> None:
    spec = specify(flags(channels=["level:m:0:10"]), data=data)
    assert spec.scaling is not None
    assert (spec.scaling.mean, spec.scaling.scale) == ((3.0,), (1.0,))


def test_scales_in_the_file_stand_against_the_data(file: Path, data: Table) -> None:
    file.write_text(FILE + "scaling = { mean = [1, 2], scale = [3, 4] }\n")
    spec = specify({}, file=file, data=data)
    assert spec.scaling is not None
    assert spec.scaling.scale == (3.0, 4.0)


def test_classes_are_those_of_the_label_which_is_no_channel(data: Table) -> None:
    spec = specify(flags(task="classification", target=None), data=data, label="state")
    assert spec.classes == ("dry", "wet")
    assert [c.name for c in spec.channels] == ["level", "rain", "flow"]


def test_the_label_of_a_regression_is_scaled(data: Table) -> None:
    spec = specify(flags(task="regression", target=None), data=data, label="flow")
    assert spec.scaling is not None
    assert spec.scaling.label_mean == 3.0
    assert [c.name for c in spec.channels] == ["level", "rain"]


def test_a_channel_that_the_data_lack_is_named(data: Table) -> None:
    with pytest.raises(SettingsError, match="no column 'snow'"):
        specify(flags(channels=["snow:cm"]), data=data)


def test_the_example_of_the_guide_is_a_model(tmp_path: Path) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "models.md"
    example = guide.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "boiler.toml").write_text(example)
    built = build(specify({}, file=tmp_path / "boiler.toml"), np.random.default_rng(0))
    assert built.manifest.quantiles == (0.1, 0.5, 0.9)
    assert built.manifest.optimiser.schedule.kind == "cosine"


def test_every_wrong_key_is_named_with_its_path(file: Path) -> None:
    file.write_text(FILE.replace("window = 3", "window = 'x'\ncolour = 1").replace("max_gap", "mx"))
    with pytest.raises(SettingsError) as refused:
        specify({}, file=file)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert {line.split(": ")[1] for line in lines} == {"colour", "grid.mx", "window"}


def test_wrong_words_of_a_file_are_refused_with_the_right_ones(file: Path) -> None:
    file.write_text(FILE.replace("[{", "[").replace('"linear"', '"tree"'))
    with pytest.raises(
        SettingsError, match=r"kind: expected one of linear, mlp, resnet, cnn, gru, .*, not 'tree'"
    ):
        specify({}, file=file)
    file.write_text(FILE + "optimiser = { schedule = { kind = 'stepwise' } }\n")
    with pytest.raises(SettingsError, match=r"optimiser\.schedule\.kind: expected one of"):
        specify({}, file=file)


def test_the_name_of_a_column_that_no_channel_can_have_is_shown(data: Table) -> None:
    columns = {"level (m)": data.cells("level"), "level": data.cells("level")}
    with pytest.raises(
        SettingsError, match=r"expected letters, digits, .*, not 'level .m.'; rename the column"
    ):
        specify(flags(), data=Table("x.csv", "", columns))


def test_a_column_with_a_word_among_numbers_is_refused() -> None:
    data = Table("x.csv", "", {"level": [*map(str, range(20)), "warm"], "rain": ["1", "2"] * 10})
    with pytest.raises(SettingsError, match="column level, row 21: 'warm' is no number"):
        specify(flags(), data=data)


def test_a_wrong_period_is_named_once() -> None:
    with pytest.raises(SettingsError) as refused:
        specify(flags(channels=["level:m:0:10"], grid={"period": "1x"}))
    assert str(refused.value).count("\n") == 0
    assert "headwater model new: --period: expected a duration" in str(refused.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError) as refused:
        specify({})
    words = "headwater model new: task: this key is required; say it with --task, one of forecast"
    assert words.replace("forecast", "classification") in str(refused.value)
    assert "window: this key is required; say it with --window" in str(refused.value)
    assert "kind: this key is required; say it with the argument KIND, one of linear" in str(
        refused.value
    )


def test_a_channel_with_categories_ranges_over_their_indices(file: Path) -> None:
    file.write_text(FILE.replace("channels = [", "categories = ['mode=off,on,auto']\nchannels = ["))
    mode = specify({}, file=file).channels[-1]
    assert (mode.name, mode.categories, mode.minimum, mode.maximum) == (
        "mode",
        ("off", "on", "auto"),
        0,
        2,
    )


def test_categories_may_stand_in_the_channel_itself(file: Path) -> None:
    mode = "{ name = 'mode', categories = ['off', 'on'] }"
    file.write_text(FILE.replace("channels = [", f"channels = [{mode}, "))
    spec = specify({}, file=file)
    assert (spec.channels[0].minimum, spec.channels[0].maximum) == (0, 1)


def test_categories_and_channels_given_apart_are_put_together() -> None:
    spec = specify(flags(channels=["level:m:0:10", "door"], categories=["door=shut,open"]))
    assert [(c.name, c.categories) for c in spec.channels] == [
        ("level", ()),
        ("door", ("shut", "open")),
    ]


def test_categories_of_the_data_are_those_of_its_column(data: Table) -> None:
    spec = specify(flags(categories=["state"]), data=data)
    assert [c.name for c in spec.channels] == ["level", "rain", "flow", "state"]
    assert spec.channels[-1].categories == ("dry", "wet")
    assert spec.scaling is not None
    assert len(spec.scaling.mean) == 4


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("door", "name them, or give data"),
        ("door=shut", "must be at least two, all different, not shut"),
        ("door=shut,shut", "must be at least two, all different, not shut, shut"),
        ("door=", "expected CHANNEL or CHANNEL="),
        ("=shut,open", "expected CHANNEL or CHANNEL="),
    ],
)
def test_categories_of_another_form_are_refused(category: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        specify(flags(channels=["level:m:0:10"], categories=[category]))


def test_a_logarithm_is_scaled_by_the_data(data: Table) -> None:
    spec = specify(flags(log=["rain"]), data=data)
    assert spec.scaling is not None
    logarithms = np.log1p([0, 40, 20])
    assert spec.scaling.log["rain"] == pytest.approx((logarithms.mean(), logarithms.std()))


def test_a_logarithm_is_scaled_by_the_range_where_there_are_no_data() -> None:
    spec = specify(flags(channels=["level:m:0:10"], log=["level"]))
    assert spec.scaling is not None
    assert spec.scaling.log["level"][0] == pytest.approx(np.log(11) / 2)


def test_a_logarithm_beside_a_scaling_that_is_given_is_refused(file: Path) -> None:
    file.write_text(FILE + "scaling = { mean = [1, 2], scale = [3, 4] }\nlog = ['rain']\n")
    with pytest.raises(SettingsError, match=r"give the logarithms in scaling\.log"):
        specify({}, file=file)


def test_quantiles_have_their_loss_and_an_autoencoder_its_task() -> None:
    spec = specify(flags(channels=["level:m:0:10"], quantiles=[0.1, 0.9]))
    assert (spec.loss, spec.quantiles) == ("quantile", (0.1, 0.9))
    given = flags(channels=["level:m:0:10"], kind="autoencoder", task=None)
    assert specify(given).task == "anomaly"


@pytest.mark.parametrize("channels", [3, [3], ["a:b:c"], [{"unit": "m"}]])
def test_channels_of_another_form_are_refused(file: Path, data: Table, channels: Any) -> None:
    with pytest.raises(SettingsError, match="channel"):
        specify({"channels": channels}, file=file, data=data)


def test_a_file_that_is_no_toml_is_refused(file: Path) -> None:
    file.write_text("= 1")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        specify({}, file=file)


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        specify({}, file=tmp_path / "none.toml")


def test_a_specification_is_complete() -> None:
    assert isinstance(specify(flags(channels=["level:m:0:10"])), ModelSpec)
