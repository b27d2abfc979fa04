from __future__ import annotations

import sqlite3
from contextlib import closing

from headwater_agent.layout import NEWEST


def test_each_statement_is_one_that_a_new_file_takes() -> None:
    with closing(sqlite3.connect(":memory:")) as new:
        for statement in NEWEST:
            new.execute(statement)
        assert new.execute("SELECT id, name FROM streams").fetchall() == [(0, "")]
