"""The database is damaged, while the agent stands still and while it runs."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.faults.stage import (
    LONGER,
    Load,
    Stage,
    account_of,
    sequence,
    staged,
    until,
    values_of,
)

pytestmark = pytest.mark.system

Blow = Callable[[Path, random.Random], None]


def flip(database: Path, chance: random.Random) -> None:
    """Change bytes all over the file but for its first page."""
    size = database.stat().st_size
    with database.open("r+b") as file:
        for _ in range(64):
            file.seek(chance.randrange(4_096, size))
            file.write(chance.randbytes(16))


def truncate(database: Path, chance: random.Random) -> None:
    """Lose the second half."""
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2 + chance.randrange(4_096))


def replace(database: Path, chance: random.Random) -> None:
    """Leave no database at all."""
    with database.open("r+b") as file:
        file.write(chance.randbytes(database.stat().st_size))


def settled(stage: Stage) -> Load:
    """Run for a while, and once in between end in order, which brings all into one file."""
    load = stage.begin().start()
    time.sleep(2 * LONGER)
    stage.device.stop()
    stage.device.start()
    stage.predicts("again")
    time.sleep(LONGER)
    return load


def revived(stage: Stage) -> Callable[[], bool]:
    """Start the agent again whenever it ends, as its service manager does; say if it predicts."""
    before = len(stage.wire.said)

    def predicts() -> bool:
        if stage.device.ended:
            stage.device.start()
            time.sleep(0.5)
        return len(stage.wire.said) > before + 200

    return predicts


def take_all(stage: Stage, sent: list[tuple[str, bytes]]) -> None:
    """Wait until each record was acknowledged once, and end the agent."""
    keys = {sequence(record) for record in sent}
    until(lambda: keys <= stage.wire.acknowledged, "all is acknowledged")
    stage.device.stop()


def judge(stage: Stage, sent: list[tuple[str, bytes]], what: str) -> None:
    """Hold what is left against what was sent, and what is lost against what is said of it."""
    ours = account_of(stage.device)
    keys = {sequence(record): values_of(record) for record in sent}
    with stage.device.reading() as reader:
        said = [note.detail for note in reader.notes(1_000) if note.kind == "repaired"]
    aside = list(stage.device.settings.agent_db.parent.glob("agent.db.damaged-*"))
    lost = stage.wire.acknowledged - ours.rows.keys()
    figures = {
        "fault": what,
        "records": len(keys),
        "lost": len(lost),
        "said": said,
        "predictions": len(stage.wire.said),
        "steps": ours.learning.steps,
    }
    print("\n" + json.dumps(figures))
    assert said or not lost, "the owner is told"
    assert len([copy for copy in aside if not copy.name.endswith(("-wal", "-shm"))]) == len(said)
    assert all(keys[key] == row for key, row in ours.rows.items()), "what is left is right"
    assert keys.keys() - ours.rows.keys() == lost, "nothing else is lost"
    assert all(len(contents) == 1 for contents in stage.wire.said.values())


@pytest.mark.parametrize("blow", [flip, truncate, replace])
def test_a_database_that_was_damaged_while_the_agent_stood_still(
    tmp_path: Path, blow: Blow
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    killed = seed % 2 == 0
    with staged(tmp_path / "stage") as stage:
        load = settled(stage)
        if killed:
            stage.device.kill()
        else:
            stage.device.stop()
        newest = max(stage.wire.acknowledged, key=lambda key: key[1])[1]
        blow(stage.device.settings.agent_db, random.Random(seed))
        until(revived(stage), "predictions go on")
        sent = load.stop()
        take_all(stage, sent)
        judge(stage, sent, f"{blow.__name__} after a {'kill' if killed else 'stop'}, seed {seed}")
        rows = account_of(stage.device).rows
        assert all(sequence(one) in rows for one in sent if sequence(one)[1] > newest)


@pytest.mark.parametrize("blow", [flip, truncate, replace])
def test_a_database_that_is_damaged_while_the_agent_runs(tmp_path: Path, blow: Blow) -> None:
    seed = random.SystemRandom().randrange(10**6)
    with staged(tmp_path / "stage") as stage:
        load = settled(stage)
        blow(stage.device.settings.agent_db, random.Random(seed))
        until(revived(stage), "predictions go on")
        time.sleep(LONGER)
        stage.device.kill()
        until(revived(stage), "predictions go on after a start")
        sent = load.stop()
        take_all(stage, sent)
        judge(stage, sent, f"{blow.__name__} while it runs, seed {seed}")
