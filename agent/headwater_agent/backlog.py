"""Messages that wait while the broker is slow to take what came of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_agent.transport import Message

AT_ONCE = 2_000
"""Messages that are predicted from together at most."""

MOST = 20_000
"""Messages that wait at most; then predictions are made although they may have to be dropped."""


class Backlog:
    """Hand messages out in the order in which they came.

    They are taken from the connection although they cannot be used yet, for what the broker says
    about our own messages comes behind them.
    """

    def __init__(self) -> None:
        self._waiting: list[Message] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self, came: Sequence[Message], *, hold: bool) -> list[Message]:
        """Take what came, and return what is to be predicted from now.

        Parameters
        ----------
        came
            Messages in their order.
        hold
            Whether nothing should be predicted for now.
        """
        waiting = self._waiting
        waiting += came
        if hold and len(waiting) < MOST:
            return []
        self._waiting = waiting[AT_ONCE:]
        return waiting[:AT_ONCE]
