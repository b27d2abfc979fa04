"""Where one stream goes on without another in between."""

from __future__ import annotations

from collections.abc import Sequence


def runs(streams: Sequence[str]) -> list[tuple[str, slice]]:
    """Return each run of a stream, and its place.

    Examples
    --------
    >>> runs(["a", "a", "b", "a"])
    [('a', slice(0, 2, None)), ('b', slice(2, 3, None)), ('a', slice(3, 4, None))]
    """
    if not streams:
        return []
    if streams.count(streams[0]) == len(streams):
        return [(streams[0], slice(0, len(streams)))]
    starts = [at for at, stream in enumerate(streams) if not at or stream != streams[at - 1]]
    ends = [*starts[1:], len(streams)]
    return [(streams[start], slice(start, end)) for start, end in zip(starts, ends, strict=True)]
