"""Tells systemd how a process is: ready, alive, reloading, stopping (see ``sd_notify(3)``)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

START_S = 120
"""Seconds that a start is given from each :meth:`Notifier.beat` on, until the process is ready."""

_log = logging.getLogger(__name__)


class Notifier:
    """Speaks to the service manager that started this process; silent where there is none.

    Parameters
    ----------
    environ
        The environment. What it says of the manager is taken out of it, so that a child process
        cannot speak in this one's name.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        watched_pid = environ.pop("WATCHDOG_PID", str(os.getpid()))
        watched = int(environ.pop("WATCHDOG_USEC", "0") or 0)
        self._watched = watched > 0 and watched_pid == str(os.getpid())
        self._able = self._ready = False
        self._said = ""
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def beat(self, *, able: bool, status: str) -> None:
        """Say that the process makes progress; to be called from the loop that makes it.

        Parameters
        ----------
        able
            Whether it could do its work now. Twice in a row make the service ready, so that an
            answer which is still on its way (a subscription that is refused) is heard first. A
            start may take as long as it likes while it beats.
        status
            A few words that ``systemctl status`` shows.
        """
        lines = []
        ready = self._ready or (self._able and able)
        if not self._ready:
            lines.append("READY=1" if ready else f"EXTEND_TIMEOUT_USEC={START_S * 1_000_000}")
        if self._watched:
            lines.append("WATCHDOG=1")
        if status != self._said:
            lines.append(f"STATUS={status.translate(_ONE_LINE)}")
        if self._send(lines):
            self._ready, self._said = ready, status
        self._able = able

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that the settings are read again, and at the end that they are."""
        self._send(["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}"])
        try:
            yield
        finally:
            self._send(["READY=1"])

    def stopping(self) -> None:
        """Say that the process ends."""
        self._send(["STOPPING=1", "STATUS=stopping"])

    def close(self) -> None:
        """Give the socket back; what is said later is not heard."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, lines: list[str]) -> bool:
        """Send one datagram; False where it was not taken, which is never this process's trouble.

        A manager that is busy hears the next beat.
        """
        if self._socket is None or not lines:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.debug("systemd does not take %s: %s", lines[0], error)
            return False
        return True


_ONE_LINE = {ord("\n"): " ", ord("\r"): " "}
