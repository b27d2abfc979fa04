"""How many messages the broker sends without an acknowledgement, found out from when it stops.

A client asks for a number (Receive Maximum, MQTT 5.0, 3.1.2.11.3), but a broker may have a lower
limit of its own, which it does not tell. Messages are acknowledged in groups, when they are
durable; a broker whose limit is below a group would stand still until the group is old enough.
"""

from __future__ import annotations

from typing import Literal

PROMPT_S = 0.25
"""Within what time of an acknowledgement a broker that waited for it sends more."""

SUSPICIONS = 3
"""How often in a row the broker must stop at the same number before that is put to the test."""

MOST_SUSPICIONS = 1_000
"""How often at most: a test that fails doubles it."""


class InFlight:
    """Say how many messages are to be acknowledged together: half as many as the broker sends.

    It can then send the one half while the other is written. That it stops at a number, and goes
    on behind the acknowledgement, may also be how the sensors speak, such as five of them each
    second. So that is put to the test, and a group acknowledged as soon as it is this number: a
    broker that waited goes on at once, and sensors in their time.

    Parameters
    ----------
    group
        How many together as long as no limit is known.

    Attributes
    ----------
    group
        How many together now.
    """

    def __init__(self, group: int) -> None:
        self.group = self._usual = max(1, group)
        self._state: Literal["watching", "testing", "limited"] = "watching"
        self._limit = 0
        self._suspicions, self._wanted = 0, SUSPICIONS
        self._unacknowledged = 0
        self._came = self._acknowledged = float("-inf")
        self._stopped_at = self._behind = 0

    def arrived(self, messages: int, now: float) -> None:
        """Take how many messages of QoS 1 came, at a time of a monotonic clock in seconds."""
        if not messages:
            return
        self._unacknowledged += messages
        self._came = now
        if now - self._acknowledged <= PROMPT_S:
            self._behind += messages
        if self._state != "watching" and self._unacknowledged > self._limit:
            self._watch()

    def acknowledged(self, messages: int, now: float) -> None:
        """Take how many were acknowledged now, and judge by what followed the time before."""
        if not messages:
            return
        if self._stopped_at:
            self._judge(prompt=2 * self._behind >= self._stopped_at)
        elif self._state == "watching":
            self._suspicions = 0
        self._unacknowledged = max(0, self._unacknowledged - messages)
        self._stopped_at = messages if self._tells(messages, now) else 0
        self._acknowledged, self._behind = now, 0

    def _tells(self, messages: int, now: float) -> bool:
        """Say whether what follows an acknowledgement says something of the broker."""
        if self._unacknowledged or self._state == "limited":
            return False
        stands_still = now - self._came > PROMPT_S
        if self._state == "testing":
            return messages == self._limit and not stands_still
        return messages < self._usual and stands_still

    def _judge(self, *, prompt: bool) -> None:
        if self._state == "testing":
            if prompt:
                self._state, self.group = "limited", max(1, self._limit // 2)
            else:
                self._wanted = min(2 * self._wanted, MOST_SUSPICIONS)
                self._watch()
            return
        again = prompt and self._stopped_at == self._limit
        self._suspicions = self._suspicions + 1 if again else int(prompt)
        self._limit = self._stopped_at
        if self._suspicions >= self._wanted:
            self._state, self.group = "testing", self._limit

    def _watch(self) -> None:
        """Go by no limit, until one is suspected again."""
        self._state, self.group = "watching", self._usual
        self._suspicions = self._limit = 0
