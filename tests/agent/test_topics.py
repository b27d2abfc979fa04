from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.topics import Pattern, matches, overlaps


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matched"),
    [
        # MQTT 5.0, 4.7.1.2: the multi-level wildcard
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("#", "/", True),
        # 4.7.1.3: the single-level wildcard
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player2", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/tennis/#", "sport/tennis/player1", True),
        ("sport/+/player1", "sport/tennis/player1", True),
        # 4.7.2: topics that begin with $
        ("#", "$SYS/broker/load", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/broker/load", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        # 4.7.3: case, empty levels and spaces count
        ("ACCOUNTS", "Accounts", False),
        ("/finance", "finance", False),
        ("Accounts payable", "Accounts payable", True),
        ("sport", "sport/tennis", False),
        ("sport/tennis", "sport", False),
    ],
)
def test_a_filter_matches_as_the_standard_says(
    topic_filter: str, topic: str, matched: bool
) -> None:
    assert matches(topic_filter, topic) is matched


_WORDS = ("a", "b", "$s", "")
_TOPICS = ["/".join(levels) for n in (1, 2, 3, 4) for levels in product(_WORDS, repeat=n)]
_filters = st.tuples(
    st.lists(st.sampled_from((*_WORDS, "+")), min_size=1, max_size=3), st.booleans()
).map(lambda made: "/".join([*made[0], *(["#"] if made[1] else [])])) | st.just("#")


@given(_filters, _filters)
def test_two_filters_overlap_exactly_when_a_topic_matches_both(one: str, other: str) -> None:
    both = any(matches(one, topic) and matches(other, topic) for topic in _TOPICS)
    assert overlaps(one, other) == both == overlaps(other, one)


def test_a_pattern_gives_its_subscription_and_reads_the_names_back() -> None:
    pattern = Pattern.parse("site/{stream}/+/{channel}")
    assert pattern.filter == "site/+/+/+"
    assert pattern.read("site/roof/x/temp") == {"stream": "roof", "channel": "temp"}
    assert pattern.read("site/roof/temp") is None


def test_a_pattern_is_filled_and_a_name_without_a_value_stays_open() -> None:
    pattern = Pattern.parse("headwater/{device}/{stream}/prediction")
    assert pattern.fill({"device": "d1"}) == "headwater/d1/+/prediction"
    assert pattern.fill({"device": "d1", "stream": "s"}) == "headwater/d1/s/prediction"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 65535 bytes"),
        ("a/#/b", "last level"),
        ("a/b+/c", "does not stand alone"),
        ("a#", "does not stand alone"),
        ("a/{Stream}", "lower case"),
        ("a/x{stream}", "whole"),
        ("{stream}/{stream}", "may stand once"),
        ("a\0b", "no NUL"),
    ],
)
def test_a_wrong_pattern_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Pattern.parse(text)
