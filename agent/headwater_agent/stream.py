"""Everything the pipeline keeps of one stream, and how it goes through a restart."""

from __future__ import annotations

import msgspec

from headwater.errors import StorageError
from headwater_agent.baseline import Baseline
from headwater_agent.rows import StreamRows
from headwater_agent.windows import StreamWindow
from headwater_models.manifest import Manifest


class _Progress(msgspec.Struct, array_like=True):
    rows: bytes
    baseline: bytes


class Stream:
    """The rows, window and baseline of one stream.

    Parameters
    ----------
    name
        Of the stream.
    manifest
        The model.
    """

    def __init__(self, name: str, manifest: Manifest) -> None:
        self.rows = StreamRows(name, manifest.grid, len(manifest.channels))
        self.window = StreamWindow(manifest.window, len(manifest.channels))
        self.baseline = Baseline(manifest)
        self._name = name

    def progress(self) -> bytes:
        """Encode what a restart needs beside the newest rows."""
        return msgspec.msgpack.encode(_Progress(self.rows.progress(), self.baseline.save()))

    def restore(self, progress: bytes) -> None:
        """Go on where :meth:`progress` was taken.

        Raises
        ------
        StorageError
            When the bytes are damaged or of another program.
        """
        try:
            saved = msgspec.msgpack.decode(progress, type=_Progress)
            self.rows.restore(saved.rows)
            self.baseline.restore(saved.baseline)
        except (msgspec.DecodeError, ValueError) as error:
            raise StorageError(
                f"The stored progress of stream {self._name} cannot be read ({error}); give the "
                "agent a new state folder."
            ) from error
