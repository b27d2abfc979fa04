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

        @lru_cache(maxsize=65_536)
        def use(stream: str, first: int, last: int, ends: tuple[int, int]) -> Use:
            if not any(reserved(stream, block) for block in range(first, last + 1)):
                return "learn"
            return "judge" if all(reserved(stream, block) for block in ends) else "embargo"

        self._use = use

    def use(self, stream: str, time: int) -> Use:
        """Say what an example whose window ends at *time* may be used for."""
        block, embargo = self._block, self._embargo
        ends = (time // block, (time + self._horizon) // block)
        return self._use(stream, (time - embargo) // block, (time + embargo) // block, ends)

    def block_end(self, time: int) -> int:
        """Return the end of the block that *time* lies in: a coarser time that may be shared."""
        return (time // self._block + 1) * self._block
