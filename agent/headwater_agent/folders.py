"""The state folders of a device, and who may enter which."""

from __future__ import annotations

from headwater.errors import StorageError
from headwater_agent.settings import AgentSettings


def make_folders(settings: AgentSettings) -> None:
    """Make the state folders; only the agent's own may never be read by others.

    Raises
    ------
    StorageError
        When one cannot be made.
    """
    for folder, mode in (
        (settings.agent_db.parent, 0o700),
        (settings.requests, 0o700),
        (settings.exchange, 0o750),
        (settings.share, 0o750),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {error.strerror}.") from error
