from __future__ import annotations

import numpy as np
import pytest

from headwater.errors import StorageError
from headwater_agent.pipeline_settings import ServeSettings
from headwater_agent.scores import Score
from headwater_agent.served import Losses, served
from headwater_agent.standing import Standing, encode_own, encode_stream, read_standing


def loss(block: int, released: float, personal: float) -> Losses:
    return Losses(np.array([block]), np.array([released]), np.array([personal]), np.array([False]))


def test_account_evidence_and_scores_come_back_as_they_were() -> None:
    mine = served(ServeSettings(), 2.0)
    for block in range(40):
        list(mine.scored(loss(block, 1.0, 0.5)))
    mine.account.add(1.25)
    own, stream = Score(labels=7, released=0.5), Score(labels=3, personal=0.25)
    found = read_standing([encode_own(mine, own), encode_stream("tank-1", stream)])
    assert found == Standing(served=mine, score=own, streams={"tank-1": stream})


def test_what_was_never_stored_is_not_there() -> None:
    assert read_standing([]) == Standing()


def test_it_stays_small_however_long_the_stream() -> None:
    """It is written with each group of labels."""
    mine = served(ServeSettings(), 1.0)
    for block in range(5_000):
        list(mine.scored(loss(block, 0.5, 0.25)))
    assert len(encode_own(mine, Score())[1]) < 4_096


@pytest.mark.parametrize("name", ["", "tank-1"])
def test_damaged_bytes_get_a_sentence(name: str) -> None:
    with pytest.raises(StorageError, match="account of the served model is damaged"):
        read_standing([(name, b"\xff")])
