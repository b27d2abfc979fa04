"""Settings: checked whole, each complaint with the file and the path of the key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater.settings import Duration, convert, decode_hook, encode_hook, read_toml


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: str
    period: Duration = Duration(1000)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    state: Path = Path("/var/lib/headwater")
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    streams: tuple[Stream, ...] = ()


def refuse(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        read_toml(path, Settings)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('name = "a"\nstate = "x/y"\n[[streams]]\ntopic = "t"\nperiod = "1.5min"\n')
    assert read_toml(path, Settings) == Settings(
        name="a", state=Path("x/y"), streams=(Stream(topic="t", period=Duration(90_000)),)
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "name: this key is required"),
        ('name = "a"\nprot = 1', "prot: there is no such key; remove it or check its spelling"),
        ('name = "a"\nport = "x"', "port: Expected `int`, got `str`"),
        ('name = "a"\nport = 0', "port: Expected `int` >= 1"),
        (
            'name = "a"\n[[streams]]\ntopic = "t"\n[[streams]]\ntopic = "u"\nqos = 1',
            "streams[1].qos: there is no such key; remove it or check its spelling",
        ),
        ('name = "a"\nstate = 5', "state: expected a path as text, got 5"),
        ('name = "a"\n[[streams]]', "streams[0].topic: this key is required"),
        (
            'name = "a"\n[[streams]]\ntopic = "t"\nperiod = "soon"',
            'streams[0].period: expected a duration such as "30s", "5min" or "6h", got \'soon\'',
        ),
    ],
)
def test_a_wrong_key_is_named_with_its_path(tmp_path: Path, text: str, complaint: str) -> None:
    assert refuse(tmp_path, text) == [complaint]


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    text = 'name = "a"\nprot = 1\nport = 0\n[[streams]]\ntopic = 3\nqos = 1\n'
    paths = {line.split(": ")[0] for line in refuse(tmp_path, text)}
    assert paths == {"prot", "port", "streams[0].topic", "streams[0].qos"}


def test_a_required_key_that_is_wrong_hides_nothing_that_follows(tmp_path: Path) -> None:
    wrong = "[[streams]]\ntopic = 3\nqos = 1\n"
    right = '[[streams]]\ntopic = "t"\n'
    text = f'name = 5\n{wrong}{right}{wrong}[[streams]]\nperiod = "soon"\n{right}[port]\n'
    paths = [line.split(": ")[0] for line in refuse(tmp_path, text)]
    assert sorted(paths) == [
        "name",
        "port",
        *("streams[0].qos", "streams[0].topic", "streams[2].qos", "streams[2].topic"),
        *("streams[3].period", "streams[3].topic"),
    ]


def test_a_list_that_only_mistakes_leave_empty_is_not_called_too_short(tmp_path: Path) -> None:
    class Least(msgspec.Struct, frozen=True, kw_only=True):
        streams: Annotated[tuple[Stream, ...], msgspec.Meta(min_length=1)]
        port: int = 1

    with pytest.raises(SettingsError) as refused:
        convert({"streams": [{"topic": 3}], "port": "x"}, Least, source="here")
    paths = [line.split(": ")[1] for line in str(refused.value).splitlines()]
    assert paths == ["streams[0].topic", "port"]


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("= 1")
    with pytest.raises(SettingsError, match=r"agent\.toml is not valid TOML"):
        read_toml(path, Settings)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file .* Make one with `init`"):
        read_toml(tmp_path / "none.toml", Settings)


@pytest.mark.parametrize("data", [b"\xff", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "agent.toml"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"agent\.toml cannot be read"):
        read_toml(path, Settings)


def test_converting_leaves_what_it_was_given_alone() -> None:
    raw = {"name": "a", "prot": 1, "streams": [{"topic": 1}]}
    with pytest.raises(SettingsError, match="here: prot"):
        convert(raw, Settings, source="here")
    assert raw == {"name": "a", "prot": 1, "streams": [{"topic": 1}]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["name", "state", "port", "streams", "topic", "period", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["name", "state", "port", "streams", "x"]), JSON))
def test_any_mapping_becomes_settings_or_a_sentence(raw: dict[str, object]) -> None:
    try:
        made = convert(raw, Settings, source="here")
    except SettingsError as error:
        complaints = str(error).splitlines()
    else:
        assert isinstance(made, Settings)
        complaints = []
    assert all(line.startswith("here: ") for line in complaints)


@given(st.integers(0, 10**12 - 1))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    assert Duration.parse(str(Duration(milliseconds))) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("500ms", 500),
        (" 30 s ", 30_000),
        ("1.5min", 90_000),
        ("6h", 21_600_000),
        ("2d", 172_800_000),
    ],
)
def test_durations_have_units(text: str, milliseconds: int) -> None:
    assert Duration.parse(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "5", "-1s", "1 week", "1e3s", "nan", "9" * 400 + "d", 5, None]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0ms"), (1, "1ms"), (90_000, "90s"), (120_000, "2min"), (86_400_000, "1d")],
)
def test_a_duration_is_shown_in_its_largest_whole_unit(milliseconds: int, text: str) -> None:
    assert str(Duration(milliseconds)) == text


def test_only_the_types_of_settings_have_hooks() -> None:
    assert encode_hook(Path("a")) == "a"
    with pytest.raises(NotImplementedError):
        encode_hook(object())
    with pytest.raises(NotImplementedError):
        decode_hook(complex, "1")
