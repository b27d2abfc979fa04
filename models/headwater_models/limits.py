"""How large a bundle and each of its files may be before any of it is read."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds in bytes on what the loader reads; a larger bundle is refused unread.

    ``total`` bounds all files together (and a zip as a whole), ``graph`` each of the graphs,
    ``weights`` the weights file, ``text`` each of the JSON files. A zip must be uncompressed, so
    that its size on disk is its size in memory.
    """

    total: int = 256 * MIB
    graph: int = 64 * MIB
    weights: int = 128 * MIB
    text: int = MIB

    def of(self, name: str) -> int:
        """Return the bound on the bundle's file *name*."""
        if name.endswith(".onnx"):
            return self.graph
        return self.weights if name.endswith(".safetensors") else self.text
