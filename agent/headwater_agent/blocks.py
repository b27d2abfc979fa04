"""Reserved blocks: which event times are kept for judging and never learned from."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from headwater_models.manifest import Manifest

Use = Literal["learn", "judge", "embargo"]

_EVER = 1 << 62


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
        self._newest: dict[str, tuple[int, int, Use]] = {}
        """Of each stream what was said last, and from when to when: it stays so for a while."""

    def stretch(self, stream: str, time: int) -> tuple[int, int, Use]:
        """Say what an example whose window ends at *time* may be used for.

        Before it: from when on, and until when, this is said of all times.
        """
        if not self._threshold:
            return -_EVER, _EVER, "learn"
        known = self._newest.get(stream)
        if known is None or not known[0] <= time < known[1]:
            known = self._newest[stream] = self._stretch(stream, time)
        return known

    def _stretch(self, stream: str, time: int) -> tuple[int, int, Use]:
        away = (-self._embargo, self._embargo, 0, self._horizon)
        blocks = [(time + far) // self._block for far in away]
        starts = [self._block * number - far for number, far in zip(blocks, away, strict=True)]
        use = self._use_within(stream, *blocks)
        return max(starts), min(starts) + self._block, use

    def _use_within(self, stream: str, first: int, last: int, *ends: int) -> Use:
        """Say it of a window and a label in two blocks, close to those from first to last."""
        if not any(self._is_reserved(stream, block) for block in range(first, last + 1)):
            return "learn"
        return "judge" if all(self._is_reserved(stream, block) for block in ends) else "embargo"

    def _is_reserved(self, stream: str, block: int) -> bool:
        digest = blake2b(f"{stream}\n{block}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._threshold


def block_end(manifest: Manifest, time: int) -> int:
    """Return the end of the block that *time* lies in: a coarser time that may be shared."""
    block = int(manifest.reserve.block)
    return (time // block + 1) * block
