"""Where Prometheus finds the figures of an agent or a coordinator."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import msgspec

from headwater.settings import Duration


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Off unless one is named: ``listen`` is the address of a port, ``textfile`` a ``.prom`` file.

    The file is for node_exporter's textfile collector, and replaced ``every`` so often.
    """

    listen: str = ""
    textfile: Path | None = None
    every: Duration = Duration(15_000)

    @property
    def wanted(self) -> bool:
        """Whether anything is to be shown."""
        return bool(self.listen) or self.textfile is not None

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and the port to listen on.

        Raises
        ------
        ValueError
            When ``listen`` is not of that form.
        """
        host, colon, port = self.listen.rpartition(":")
        if not colon or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            raise ValueError(self.listen)
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)

    @property
    def stays_here(self) -> bool:
        """Whether only this machine may ask."""
        return not self.listen or ipaddress.ip_address(self.address[0]).is_loopback


def find_complaints(settings: MetricsSettings) -> Iterator[str]:
    """Yield what cannot work, with the path of its key."""
    if settings.listen:
        try:
            settings.address  # noqa: B018 - reading it checks it
        except ValueError:
            yield 'metrics.listen: must be an address and a port, such as "127.0.0.1:9464"'
    if settings.textfile is not None and settings.textfile.suffix != ".prom":
        yield "metrics.textfile: its name must end in .prom, or node_exporter does not read it"
    if settings.every < 1_000:
        yield "metrics.every: must be at least 1s"
