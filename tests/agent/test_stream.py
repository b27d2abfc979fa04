from __future__ import annotations

import msgspec
import pytest

from headwater.errors import StorageError
from headwater_agent.guard.channel import sensors
from headwater_agent.guard.settings import GuardSettings
from headwater_agent.guard.stream import StreamGuard
from headwater_agent.stream import Stream
from headwater_agent.threshold_settings import ThresholdSettings
from headwater_models.manifest import Manifest
from tests.agent.model import manifest, record, regression


def made(settings: Manifest) -> Stream:
    guard = StreamGuard("tank-1", sensors(settings), GuardSettings())
    return Stream("tank-1", settings, ThresholdSettings(), guard)


def test_a_restart_goes_on_with_the_same_rows_and_baseline() -> None:
    stream, again = made(regression()), made(regression())
    list(stream.rows.add(record(1, 1, None)))
    stream.baseline.labelled(4.0)
    again.restore(stream.progress())
    assert again.progress() == stream.progress()
    (row,) = again.rows.add(record(1, None, 2))
    assert row.values.tolist() == [1, 2]


@pytest.mark.parametrize("damaged", [b"", b"\xff\xff", b"\x92\x01\x02", b"\x92\xc4\x00\xc4\x00"])
def test_damaged_progress_gets_a_sentence(damaged: bytes) -> None:
    with pytest.raises(StorageError, match="tank-1 cannot be read"):
        made(manifest()).restore(damaged)


def test_progress_of_another_layout_gets_a_sentence() -> None:
    stream = made(manifest())
    *others, guard, _, _ = msgspec.msgpack.decode(stream.progress())
    for of_another in ([0, 1.0], guard[:-1], b""):
        with pytest.raises(StorageError, match="tank-1 cannot be read"):
            made(manifest()).restore(msgspec.msgpack.encode([*others, of_another]))
