"""The draws of the network: within what chance allows, and the same by the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.settings import Duration
from headwater_simulator.scenario.settings import Link
from headwater_simulator.virtual.network import MANY, Fate, Network

MESSAGES = 4_000
BOUND = 4 * 0.5 / MESSAGES**0.5
"""Four standard errors of a share of so many messages, at most."""


def sent(link: Link, *, size: int = 100, seed: int = 1) -> tuple[Network, list[Sequence[Fate]]]:
    network = Network(np.random.default_rng(seed))
    return network, list(network.down([link] * MESSAGES, [size] * MESSAGES))


def test_by_default_every_message_comes_once_and_keeps_its_place() -> None:
    network, fates = sent(Link())

    assert all(len(some) == 1 and not some[0].held for some in fates)
    assert network.traffic.messages == MESSAGES
    assert (network.traffic.lost, network.traffic.repeated) == (0, 0)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_messages_are_lost_and_repeated_as_often_as_said(share: float) -> None:
    network, fates = sent(Link(loss=share, duplication=share))
    traffic = network.traffic

    assert traffic.lost == sum(not some for some in fates)
    assert traffic.repeated == sum(len(some) == 2 for some in fates)
    assert traffic.lost / MESSAGES == pytest.approx(share, abs=BOUND)
    assert traffic.repeated / (MESSAGES - traffic.lost) == pytest.approx(share, abs=BOUND)


def test_on_a_dead_link_nothing_comes_and_all_is_counted() -> None:
    network, fates = sent(Link(loss=1.0), size=7)

    assert not any(fates)
    assert (network.traffic.lost, network.traffic.down) == (MESSAGES, 7 * MESSAGES)


def test_held_messages_take_longer_by_as_much_as_said_and_may_be_overtaken() -> None:
    link = Link(latency=Duration(50), jitter=0.0, reordering=0.25, held=Duration(5_000))

    fates = [fate for some in sent(link)[1] for fate in some]

    assert {(fate.delay, fate.held) for fate in fates} == {(50, False), (5_050, True)}
    assert np.mean([fate.held for fate in fates]) == pytest.approx(0.25, abs=BOUND)


def test_latency_is_log_normal_around_its_median() -> None:
    delays = [some[0].delay for some in sent(Link(latency=Duration(1_000), jitter=0.5))[1]]

    logs = np.log(np.array(delays) / 1_000)
    assert np.mean(logs) == pytest.approx(0.0, abs=4 * 0.5 / MESSAGES**0.5)
    assert np.std(logs) == pytest.approx(0.5, rel=0.1)


def test_bytes_take_their_time_in_each_direction() -> None:
    network = Network(np.random.default_rng(1))
    link = Link(latency=Duration(10), jitter=0.0, up=1_000.0, down=4_000.0)

    assert list(network.up([link], [500])) == [[Fate(510, held=False)]]
    assert list(network.down([link], [500])) == [[Fate(135, held=False)]]
    assert (network.traffic.up, network.traffic.down) == (500, 500)


def test_the_same_seed_draws_the_same() -> None:
    link = Link(loss=0.1, duplication=0.1, reordering=0.1)

    assert sent(link, seed=5)[1] == sent(link, seed=5)[1]
    assert sent(link, seed=5)[1] != sent(link, seed=6)[1]


EVEN = st.builds(
    Link,
    latency=st.integers(0, 500).map(Duration),
    jitter=st.sampled_from([0.0, 0.3]),
    up=st.sampled_from([0.0, 1_000.0, 1_234.5]),
)
ROUGH = st.builds(Link, loss=st.just(0.4), duplication=st.just(0.4), reordering=st.just(0.4))


def fates(network: Network, messages: list[tuple[Link, int]]) -> list[tuple[Fate, ...]]:
    links, sizes = [link for link, _ in messages], [size for _, size in messages]
    return [tuple(some) for some in network.up(links, sizes)]


@given(st.data(), st.booleans(), st.booleans())
def test_messages_fare_together_as_they_fare_one_after_the_other(
    data: st.DataObject, rough: bool, same: bool
) -> None:
    links = st.one_of(EVEN, ROUGH) if rough else EVEN
    links = st.just(data.draw(links)) if same else links
    messages = data.draw(st.lists(st.tuples(links, st.integers(0, 10_000)), max_size=3 * MANY))
    cut = data.draw(st.integers(0, MANY))
    together, apart, alone = (Network(np.random.default_rng(1)) for _ in range(3))

    whole = fates(together, messages)
    parts = [one for part in (messages[:cut], messages[cut:]) for one in fates(apart, part)]
    single = [fate for one in messages for fate in fates(alone, [one])]

    assert whole == parts == single
    assert together.traffic == apart.traffic == alone.traffic
