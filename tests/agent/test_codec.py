from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import SettingsError
from headwater.settings import Duration
from headwater_agent.codec import MAX_RECORDS, Decoder
from headwater_agent.events import Record
from headwater_agent.payload import MAX_TOPIC, Refusal
from headwater_agent.settings import AgentSettings, ChannelField, Input, TimeField
from headwater_models.manifest import Array, Channel, Grid, Manifest, Optimiser, Reserve

NOW = 1_700_000_000_000
HOUR = Duration(3_600_000)

MANIFEST = Manifest(
    name="air",
    task="forecast",
    channels=(
        Channel(name="temp", unit="degC", minimum=-50, maximum=60),
        Channel(name="PM2.5", unit="ug/m3", minimum=0, maximum=1000),
    ),
    grid=Grid(period=HOUR, max_gap=HOUR),
    window=2,
    target="PM2.5",
    horizon=HOUR,
    loss="mae",
    baseline="persistence",
    optimiser=Optimiser(),
    reserve=Reserve(block=HOUR),
    arrays=(Array(name="w", shape=(2,)),),
)


def decoder(pattern: str = "air/{stream}", **options: object) -> Decoder:
    item = Input(pattern=pattern, **options)  # type: ignore[arg-type]
    settings = AgentSettings(device="d1", bundle=Path("m"), input=item)
    return Decoder(settings, MANIFEST)


def records(codec: Decoder, payload: object, topic: str = "air/roof") -> list[Record]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    decoded = codec.decode(topic, raw, NOW, 7)
    assert not isinstance(decoded, Refusal), decoded
    return decoded


def refusal(codec: Decoder, payload: object, topic: str = "air/roof") -> Refusal:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    decoded = codec.decode(topic, raw, NOW, 7)
    assert isinstance(decoded, Refusal)
    return decoded


def test_an_object_gives_one_record_in_the_models_order() -> None:
    (record,) = records(decoder(), {"PM2.5": 12.5, "temp": 3, "other": "x"})
    assert (record.stream, record.time, record.received, record.receipt) == ("roof", NOW, NOW, 7)
    assert record.values.dtype == np.float32
    assert record.values.tolist() == [3.0, 12.5]
    assert record.present.tolist() == [True, True]


def test_a_channel_that_does_not_occur_was_not_spoken_of() -> None:
    (record,) = records(decoder(), {"temp": 3})
    assert record.present.tolist() == [True, False]
    assert np.isnan(record.values[1])


@pytest.mark.parametrize("value", [b"null", b"NaN", b'"nan"'])
def test_a_value_that_is_no_number_is_missing_and_spoken_of(value: bytes) -> None:
    (record,) = records(decoder(), b'{"temp": %s, "PM2.5": 1}' % value)
    assert record.present.tolist() == [True, True]
    assert np.isnan(record.values[0])
    assert record.values[1] == 1


@pytest.mark.parametrize("value", [b"Infinity", b"1e999", b"1e39", b"1" + b"0" * 400, b'"inf"'])
def test_a_value_that_is_too_large_is_left_to_the_guard(value: bytes) -> None:
    (record,) = records(decoder(), b'{"temp": %s, "PM2.5": 1}' % value)
    assert record.values.tolist() == [np.inf, 1]


def test_a_value_that_is_too_small_is_left_to_the_guard() -> None:
    (record,) = records(decoder(), b'{"temp": -1e39, "PM2.5": -1' + b"0" * 400 + b"}")
    assert record.values.tolist() == [-np.inf, -np.inf]


def test_true_is_one_and_text_may_hold_a_number() -> None:
    (record,) = records(decoder(), {"temp": True, "PM2.5": " 12.5 "})
    assert record.values.tolist() == [1.0, 12.5]


def test_text_is_no_number_where_the_settings_say_so() -> None:
    codec = decoder(numbers_in_text=False)
    (record,) = records(codec, {"temp": 1, "PM2.5": "12.5"})
    assert np.isnan(record.values[1])
    assert codec.unreadable == 1


@pytest.mark.parametrize("value", [[1], {"v": 1}, "warm", "1_000"])
def test_a_cell_of_the_wrong_type_is_missing_and_counted(value: object) -> None:
    codec = decoder()
    (record,) = records(codec, {"temp": value, "PM2.5": 2})
    assert np.isnan(record.values[0])
    assert record.values[1] == 2
    assert codec.unreadable == 1


def test_an_array_gives_a_record_for_each_item_that_can_be_used() -> None:
    codec = decoder()
    found = records(codec, [{"temp": 1}, "x", {"temp": 2}])
    assert [float(record.values[0]) for record in found] == [1.0, 2.0]
    assert {record.receipt for record in found} == {7}
    assert codec.unreadable == 1


def test_a_plain_number_goes_to_the_channel_of_the_topic() -> None:
    codec = decoder("site/{stream}/{channel}")
    (record,) = records(codec, b"21.5", "site/roof/temp")
    assert record.stream == "roof"
    assert record.values[0] == 21.5
    assert record.present.tolist() == [True, False]


def test_the_channels_word_in_the_topic_may_differ_from_its_name() -> None:
    codec = decoder("site/{stream}/{channel}", channels={"PM2.5": ChannelField(topic="pm25")})
    (record,) = records(codec, {"value": 9}, "site/roof/pm25")
    assert record.values[1] == 9
    assert refusal(codec, b"1", "site/roof/PM2.5").reason == "channel"


def test_a_path_finds_a_nested_field_and_a_key_with_a_dot_comes_first() -> None:
    codec = decoder(
        channels={"temp": ChannelField(field="data.0.t"), "PM2.5": ChannelField(field="PM2.5")}
    )
    (record,) = records(codec, {"data": [{"t": 4}], "PM2.5": 5})
    assert record.values.tolist() == [4.0, 5.0]


def test_values_are_converted_to_the_models_unit() -> None:
    codec = decoder(
        channels={"temp": ChannelField(unit="degF"), "PM2.5": ChannelField(unit="mg/m3")}
    )
    (record,) = records(codec, {"temp": 212, "PM2.5": 0.5})
    assert record.values == pytest.approx([100.0, 500.0])


def test_a_unit_of_another_dimension_is_refused_at_start() -> None:
    with pytest.raises(SettingsError, match=r"channels.temp.unit: 'hPa' measures pressure"):
        decoder(channels={"temp": ChannelField(unit="hPa")})


def test_a_channel_that_the_model_lacks_is_refused_at_start() -> None:
    with pytest.raises(SettingsError, match=r"channels.wind: model air has no such channel"):
        decoder(channels={"wind": ChannelField()})


@pytest.mark.parametrize(
    ("format_", "value", "expected"),
    [
        ("iso8601", "2023-11-14T22:13:20Z", NOW),
        ("iso8601", "2023-11-14T23:13:20.250+01:00", NOW + 250),
        ("iso8601", "2023-11-14 22:13:20", NOW),
        ("s", 1_700_000_000.25, NOW + 250),
        ("s", "1700000000", NOW),
        ("ms", NOW, NOW),
        ("us", NOW * 1000 + 999, NOW),
        ("ns", NOW * 1_000_000 + 1, NOW),
    ],
)
def test_event_times_are_read(format_: str, value: object, expected: int) -> None:
    codec = decoder(time=TimeField(field="ts", format=format_))  # type: ignore[arg-type]
    (record,) = records(codec, {"ts": value, "temp": 1})
    assert record.time == expected
    assert record.received == NOW


@pytest.mark.parametrize("value", [None, "noon", True, 0, 10**300, NOW * 10, -5, {"a": 1}])
def test_an_absurd_time_is_refused(value: object) -> None:
    codec = decoder(time=TimeField(field="ts", format="ms"))
    assert refusal(codec, {"ts": value, "temp": 1}).reason == "time"


def test_the_stream_may_come_from_the_payload() -> None:
    codec = decoder("air", stream="meta.id")
    (record,) = records(codec, {"meta": {"id": 17}, "temp": 1}, "air")
    assert record.stream == "17"
    assert refusal(codec, {"temp": 1}, "air").reason == "stream"


def test_without_any_name_the_device_is_the_stream() -> None:
    (record,) = records(decoder("air"), {"temp": 1}, "air")
    assert record.stream == "d1"


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "x" * 129, "a\nb", "\ud800", None, 1.5])
def test_a_stream_that_no_topic_can_carry_is_refused(name: object) -> None:
    assert refusal(decoder("air", stream="id"), {"id": name, "temp": 1}, "air").reason == "stream"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "json"),
        (b"online", "json"),
        (b"\xff\xfe{", "json"),
        (b"[" * 60_000, "deep"),
        (b"[]", "shape"),
        (b'{"temp": "warm"}', "shape"),
        (b'{"wind": 1}', "channel"),
        (b"3", "channel"),
        (b"[" + b"1," * MAX_RECORDS + b"1]", "size"),
        (b"1" * 5_000, "json"),
        (b'{"temp\\u0000": 1}', "channel"),
        (b'{"temp": "\xff"}', "json"),
        (b" " * 70_000, "size"),
    ],
)
def test_a_message_that_gives_nothing_is_refused_with_a_word(payload: bytes, reason: str) -> None:
    codec = decoder()
    assert refusal(codec, payload).reason == reason


def test_an_array_may_hold_so_many_records() -> None:
    (*_, last) = found = records(decoder(), b"[%s]" % b",".join([b'{"temp":1}'] * 5_000))
    assert len(found) == 5_000
    assert last.values[0] == 1


def test_an_array_of_the_most_records_is_read_where_the_payload_may_be_so_large() -> None:
    items = b"[%s]" % b",".join([b'{"temp":1}'] * MAX_RECORDS)
    assert len(records(decoder(max_payload=10**6), items)) == MAX_RECORDS


def test_the_last_of_a_repeated_key_holds() -> None:
    (record,) = records(decoder(), b'{"temp": "warm", "temp": 1, "temp": 2}')
    assert record.values[0] == 2


def test_a_topic_that_is_too_long_is_refused_and_not_remembered() -> None:
    codec = decoder("#", stream="id")
    reading = {"id": "roof", "temp": 1}
    assert records(codec, reading, "t" * MAX_TOPIC)
    remembered = codec._place.cache_info().currsize
    assert refusal(codec, reading, "t" * (MAX_TOPIC + 1)).reason == "topic-length"
    assert codec._place.cache_info().currsize == remembered


def test_a_topic_of_no_input_is_refused() -> None:
    assert refusal(decoder(), {"temp": 1}, "water/roof").reason == "topic"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["temp", "PM2.5", "ts", "id"]) | st.text(), inner)
    ),
    max_leaves=12,
)
_codecs = st.sampled_from(
    [
        decoder(time=TimeField(field="ts", format="iso8601")),
        decoder("+/{stream}", time=TimeField(field="ts", format="ns")),
        decoder("#", stream="id", time=TimeField(field="ts", format="s")),
        decoder("site/{stream}/{channel}"),
    ]
)
_topics = st.sampled_from(["air/roof", "site/roof/temp", "site//temp"]) | st.text()


@given(_codecs, _topics, st.binary() | _json.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_ever_raise(codec: Decoder, topic: str, payload: bytes) -> None:
    decoded = codec.decode(topic, payload, NOW, 1)
    if isinstance(decoded, Refusal):
        assert str(decoded)
        return
    assert decoded
    for record in decoded:
        assert record.present.any()
        assert np.isnan(record.values[~record.present]).all()
        assert 946_684_800_000 <= record.time <= NOW + 86_400_000


def test_payloads_as_devices_send_them_never_raise(data_folder: Path) -> None:
    lines = (data_folder / "mqtt_payloads" / "payloads.jsonl").read_text().splitlines()
    codec = decoder("#", channels={"temp": ChannelField(field="temperature")})
    decoded = [
        codec.decode(message["topic"], message["payload"].encode(), NOW, 1)
        for message in map(json.loads, lines)
    ]
    read = [record for result in decoded if isinstance(result, list) for record in result]
    assert len(decoded) > 40
    assert len(read) >= 2
