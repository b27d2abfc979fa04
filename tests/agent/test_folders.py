from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import StorageError
from headwater_agent.folders import make_folders
from tests.agent.federating import settings


def test_only_the_owner_may_enter_the_agents_folder(tmp_path: Path) -> None:
    made = settings(tmp_path)
    make_folders(made)
    modes = [
        folder.stat().st_mode & 0o777
        for folder in (made.agent_db.parent, made.exchange, made.share)
    ]
    assert modes == [0o700, 0o750, 0o750]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    made = settings(tmp_path)
    made.share.rmdir()
    made.share.write_text("in the way")
    with pytest.raises(StorageError, match="share"):
        make_folders(made)
