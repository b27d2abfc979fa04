"""A fleet of hundreds: whatever happens, nobody walks through all devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NoReturn

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.settings import Duration
from headwater_coordinator import events as e
from headwater_coordinator.federation import Federation, Training
from headwater_coordinator.settings import Buffered, Gate, Rounds, Settings
from headwater_coordinator.state import Device, State, Version
from headwater_models.arrays import packed_size
from tests.models.bundles import tiny

BUNDLE = tiny()
FIRST = Version(BUNDLE.version_id, 1, "", "")
MANY = 600
Selection = Literal["uniform", "fair", "guided"]


class Unwalked(dict[str, Device]):
    """Devices that may be looked up and never gone through."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("all devices were gone through")

    def values(self) -> NoReturn:
        raise AssertionError("all devices were gone through")

    def items(self) -> NoReturn:
        raise AssertionError("all devices were gone through")


def answers(ask: e.Ask, now: int, protocol: int = wire.PROTOCOL) -> Iterator[e.Event]:
    """What a sound device says."""
    match ask.task:
        case wire.CheckIn():
            said: wire.Reply = wire.CheckedIn(
                device=ask.node,
                model=BUNDLE.model_id,
                version=FIRST.name,
                sequence=1,
                protocol=protocol,
            )
        case wire.Release(version=version):
            said = wire.Received(device=ask.node, version=version, accepted=True)
        case wire.Train(task=task, base=base, model=model):
            said = wire.Update(
                task=task,
                device=ask.node,
                model=model,
                base=base,
                sequence=now,
                examples=50,
                loss_before=1.0,
                loss_after=0.5,
                data_until_ms=0,
            )
        case wire.Evaluate(task=task, candidate=candidate, release=release):
            said = wire.Evaluated(
                task=task,
                device=ask.node,
                candidate=candidate,
                release=release,
                rows=20,
                loss_candidate=0.9,
                loss_release=1.0,
                loss_baseline=2.0,
                difference_mean=-0.1,
                difference_m2=0.1,
            )
    size = packed_size(BUNDLE.manifest)
    vector = np.ones(size, np.float32) if isinstance(said, wire.Update) else None
    yield e.Replied(ask.ask, said, vector)


@pytest.mark.parametrize("selection", ["uniform", "fair", "guided"])
@pytest.mark.parametrize("kind", [Rounds, Buffered])
def test_no_event_goes_through_all_devices(
    kind: type[Rounds | Buffered], selection: Selection
) -> None:
    how = kind(selection=selection, arrivals=100_000.0, check_in=Duration(3_600_000))
    settings = Settings(federation=how, gate=Gate(max_evaluators=5))
    state = State(release=FIRST, sequences={FIRST.name: 1})
    state.devices = Unwalked()
    training = Training(model=BUNDLE.model_id, epochs=1, batch=8, learning_rate=0.1)
    core = Federation(state, training, BUNDLE.manifest, settings, np.random.default_rng(0))
    now = 1
    events: list[e.Event] = [e.Appeared(frozenset(f"d{number}" for number in range(MANY)))]
    for _ in range(60):
        now += 30_000
        coming: list[e.Event] = []
        while events:
            for effect in core.feed(events.pop(0), now):
                match effect:
                    case e.Ask():
                        coming += answers(effect, now)
                    case e.Merge(number, base):
                        name = f"{number:064x}"
                        version = Version(name, base.sequence + 1, base.name, "")
                        events.append(e.Merged(version))
                    case e.Release(candidate):
                        events.append(e.Released(candidate, {}))
        events = [*coming, e.Ticked()]

    assert state.release.sequence > 5
    assert state.named("d7") == "d7"


@pytest.mark.parametrize("protocol", [wire.PROTOCOL, 1])
def test_devices_of_a_large_fleet_are_told_to_come_less_often(protocol: int) -> None:
    settings = Settings(federation=Rounds(arrivals=10.0, check_in=Duration(60_000)))
    training = Training(model=BUNDLE.model_id, epochs=1, batch=8, learning_rate=0.1)
    state = State(release=FIRST, sequences={FIRST.name: 1})
    core = Federation(state, training, BUNDLE.manifest, settings, np.random.default_rng(0))
    events: list[e.Event] = [e.Appeared(frozenset(f"d{number}" for number in range(MANY)))]
    told: list[object] = []
    for now in range(0, 400_000, 10_000):
        coming: list[e.Event] = []
        for event in events:
            for effect in core.feed(event, now):
                if isinstance(effect, e.Ask) and isinstance(effect.task, wire.CheckIn):
                    told.append(effect.task.poll_ms)
                    coming += answers(effect, now, protocol)
        events = [*coming, e.Ticked()]

    assert set(told[:MANY]) == {msgspec.UNSET}
    assert set(told[MANY:]) == {MANY * 100 if protocol >= wire.PACE else msgspec.UNSET}
