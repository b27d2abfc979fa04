"""Reserved blocks: which event times are kept for judging and never learned from."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from headwater_models.manifest import Manifest

Use = Literal["learn", "judge", "embargo"]


class ReservedBlocks:
    """Decide by stream and event time, the same on every device and after every restart.

    Event time is cut into blocks of ``reserve.block``; a share of them, chosen by a hash of
    stream and block number, is reserved. Examples within window plus horizon of a reserved block
    are neither learned nor judged on, so that no row of one side reaches the other (the purging
    and embargo of Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter 7).

    Parameters
    ----------
    manifest
        Block length, share, window, horizon and period.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._block = int(manifest.reserve.block)
        self._embargo = manifest.window * manifest.grid.period + manifest.horizon
        self._horizon = int(manifest.horizon)
        threshold = round(manifest.reserve.share * 2**64)

        @lru_cache(maxsize=65_536)
        def reserved(stream: str, block: int) -> bool:
            digest = blake2b(f"{stream}\n{block}".encode(), digest_size=8).digest()
            return int.from_bytes(digest, "big") < threshold

        self._reserved = reserved

    def use(self, stream: str, time: int) -> Use:
        """Say what an example whose window ends at *time* may be used for."""
        first = (time - self._embargo) // self._block
        last = (time + self._embargo) // self._block
        if not any(self._reserved(stream, block) for block in range(first, last + 1)):
            return "learn"
        ends = (time // self._block, (time + self._horizon) // self._block)
        return "judge" if all(self._reserved(stream, block) for block in ends) else "embargo"

    def block_end(self, time: int) -> int:
        """Return the end of the block that *time* lies in: a coarser time that may be shared."""
        return (time // self._block + 1) * self._block
