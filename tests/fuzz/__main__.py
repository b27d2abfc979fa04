"""Fuzz with coverage as the guide: ``python -m tests.fuzz -runs=1000000 -seed=1``.

Arguments are libFuzzer's. What raised is left in the working directory as ``crash-...``, and
``python -m tests.fuzz crash-...`` runs it again.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

from tests.fuzz import seeds

INSTRUMENTED = ["headwater_agent." + name for name in (
    "codec", "guard", "label_codec", "payload", "plain", "reception", "topics",
)]  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run libFuzzer, which ends the process."""
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.target import TOPICS, Target  # noqa: PLC0415 - as it is instrumented
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory(prefix="headwater-fuzz-") as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        payloads = (*seeds.READINGS, *seeds.LABELS, *seeds.HOSTILE)
        for number, payload in enumerate(payloads):
            for choice in (*range(len(TOPICS)), 64 + TOPICS.index("verdict/a")):
                (corpus / f"{number}-{choice}").write_bytes(bytes((choice,)) + payload)
        words = folder / "words"
        parts = [part for part in seeds.KEYS + seeds.VALUES if len(part) < 100]
        words.write_text("".join(f'"{_escaped(part)}"\n' for part in parts))
        given = [one for one in arguments if not one.startswith("-")]
        options = [f"-dict={words}", "-print_final_stats=1", *arguments]
        atheris.Setup([sys.argv[0], *options, *([] if given else [str(corpus)])], Target())
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


main(sys.argv[1:])
