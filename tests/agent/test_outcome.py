from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from safetensors.numpy import load, save_file

from headwater import wire
from headwater.errors import BundleError, HeadwaterError, PeerError
from headwater_agent.outcome import (
    SUFFIX,
    Outcome,
    encode_outcome,
    find_outcomes,
    read_outcome,
    write_outcome,
)
from tests.agent.federating import NAME, task_name, update

DECLINED = wire.Declined(device=NAME, task=task_name(1), reason="too-few-examples")


def put(folder: Path, data: bytes) -> Path:
    """Write bytes under their own hash."""
    path = folder / f"{sha256(data).hexdigest()}{SUFFIX}"
    path.write_bytes(data)
    return path


@given(npst.arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
def test_an_outcome_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, array: NDArray[np.float32]
) -> None:
    folder = tmp_path_factory.mktemp("share")
    reply, _ = update()
    name = write_outcome(folder, reply, array)
    outcome = read_outcome(folder / f"{name}{SUFFIX}", longest=80)
    assert (outcome.name, outcome.reply) == (name, reply)
    assert outcome.array is not None
    assert outcome.array.tobytes() == array.tobytes()


@given(npst.arrays(np.float64, st.integers(0, 20), elements=st.floats()))
def test_statistics_come_back_in_float64_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, vector: NDArray[np.float64]
) -> None:
    folder = tmp_path_factory.mktemp("share")
    name = write_outcome(folder, update()[0], vector)
    outcome = read_outcome(folder / f"{name}{SUFFIX}", longest=160)
    assert outcome.array is not None
    assert outcome.array.dtype == np.float64
    assert outcome.array.tobytes() == vector.tobytes()


@given(npst.arrays(np.uint8, st.integers(0, 20)))
def test_compressed_bytes_come_back(
    tmp_path_factory: pytest.TempPathFactory, vector: NDArray[np.uint8]
) -> None:
    folder = tmp_path_factory.mktemp("share")
    name = write_outcome(folder, update()[0], vector)
    outcome = read_outcome(folder / f"{name}{SUFFIX}", longest=20)
    assert outcome.array is not None
    assert outcome.array.dtype == np.uint8
    assert outcome.array.tobytes() == vector.tobytes()


def test_an_outcome_is_a_safetensors_file(tmp_path: Path) -> None:
    reply, array = update()
    data = encode_outcome(reply, array)
    assert load(data)["arrays"].tobytes() == array.tobytes()
    statistics = array.astype(np.float64)
    assert load(encode_outcome(reply, statistics))["statistics"].tobytes() == statistics.tobytes()
    assert load(encode_outcome(DECLINED, None)) == {}


def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{'0' * 64}{SUFFIX}"
    path.write_bytes(encode_outcome(DECLINED, None))
    with pytest.raises(PeerError, match="not named after its content"):
        read_outcome(path, longest=4)


def test_a_file_larger_than_the_model_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path, encode_outcome(update()[0], np.zeros(100_000, np.float32)))
    with pytest.raises(BundleError, match="larger than"):
        read_outcome(path, longest=40)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = put(tmp_path, encode_outcome(DECLINED, None))
    link = tmp_path / "linked" / secret.name
    link.parent.mkdir()
    link.symlink_to(secret)
    with pytest.raises(BundleError, match="symbolic link"):
        read_outcome(link, longest=4)


def test_a_file_with_another_tensor_or_key_is_refused(tmp_path: Path) -> None:
    text = wire.encode(DECLINED).decode()
    more: tuple[tuple[dict[str, NDArray[np.float32]], dict[str, str]], ...] = (
        ({"arrays": np.zeros(2, np.float32), "more": np.zeros(2, np.float32)}, {"reply": text}),
        ({"arrays": np.zeros(2, np.float32)}, {"reply": text, "more": "x"}),
        ({"arrays": np.zeros((2, 2), np.float32)}, {"reply": text}),
    )
    for tensors, metadata in more:
        save_file(tensors, tmp_path / "made", metadata)
        path = put(tmp_path, (tmp_path / "made").read_bytes())
        with pytest.raises(PeerError):
            read_outcome(path, longest=40)


@given(st.data())
def test_no_byte_can_be_added_or_changed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("share")
    good = encode_outcome(DECLINED, None)
    at = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 3))
    changed = good[:at] + data.draw(st.binary(max_size=3)) + good[at + length :]
    path = put(folder, changed)
    try:
        outcome = read_outcome(path, longest=40)
    except HeadwaterError:
        return
    assert encode_outcome(outcome.reply, outcome.array) == changed


def test_half_written_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    name = write_outcome(tmp_path, DECLINED)
    (tmp_path / f".{name}{SUFFIX}").write_bytes(b"half")
    (tmp_path / "status.json").write_bytes(b"{}")
    bad = put(tmp_path, b"no outcome")
    found = list(find_outcomes(tmp_path, longest=4))
    assert [o.name for o in found if isinstance(o, Outcome)] == [name]
    assert [bad.name in str(e) for e in found if isinstance(e, HeadwaterError)] == [True]
    assert list(find_outcomes(tmp_path / "missing", longest=4)) == []
