"""How the agent reaches its broker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from headwater.settings import Duration

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""The default port of each scheme of a broker's URL."""


class Broker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The MQTT broker, how to sign in, and how closely to listen.

    ``receive_maximum`` bounds unacknowledged messages. ``linger`` is how long what came may wait
    for more, so that it is taken together: less work for each, and predictions that much later.
    ``retry`` is the longest pause between two attempts to connect: pauses begin at up to a second
    and double, each drawn at random so that a fleet does not come back at one moment.
    """

    url: str = "mqtt://127.0.0.1:1883"
    version: Literal["5", "3.1.1"] = "5"
    username: str = ""
    password: str = ""
    password_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    client_id: str = ""
    keepalive: Duration = Duration(30_000)
    retry: Duration = Duration(60_000)
    session_expiry: Duration = Duration(86_400_000)
    receive_maximum: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 1000
    linger: Duration = Duration(0)

    def __repr__(self) -> str:
        return f"Broker(url={self.url!r}, version={self.version!r}, username={self.username!r})"

    @property
    def host(self) -> str:
        """Host part of the URL."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Port of the URL, or 1883 for ``mqtt``, 8883 for ``mqtts``."""
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("mqtts://")
