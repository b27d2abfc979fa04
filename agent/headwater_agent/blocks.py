"""Reserved blocks: which event times are kept for judging and never learned from."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from headwater_models.manifest import Manifest

Use = Literal["learn", "judge", "embargo"]

_Blocks = tuple[int, int, int, int]
"""Of an example: the first and last that it is close to, those of its window and of its label."""


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
        self._threshold = round(manifest.reserve.share * 2**64)
        self._newest: dict[str, tuple[_Blocks, Use]] = {}
        """Of each stream what was said last: a stream stays in a block for a while."""

    def use(self, stream: str, time: int) -> Use:
        """Say what an example whose window ends at *time* may be used for."""
        block, embargo = self._block, self._embargo
        blocks = (
            (time - embargo) // block,
            (time + embargo) // block,
            time // block,
            (time + self._horizon) // block,
        )
        known = self._newest.get(stream)
        if known is None or known[0] != blocks:
            known = self._newest[stream] = blocks, self._use(stream, blocks)
        return known[1]

    def _use(self, stream: str, blocks: _Blocks) -> Use:
        first, last, *ends = blocks
        if not any(self._is_reserved(stream, block) for block in range(first, last + 1)):
            return "learn"
        return "judge" if all(self._is_reserved(stream, block) for block in ends) else "embargo"

    def _is_reserved(self, stream: str, block: int) -> bool:
        digest = blake2b(f"{stream}\n{block}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._threshold

    def block_end(self, time: int) -> int:
        """Return the end of the block that *time* lies in: a coarser time that may be shared."""
        return (time // self._block + 1) * self._block
