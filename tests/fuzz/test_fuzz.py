from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.payload import Reason
from tests.conftest import skip_or_fail
from tests.fuzz import seeds
from tests.fuzz.target import TOPICS, Target

ROOT = Path(__file__).resolve().parents[2]
RUNS = 10_000


def test_what_fuzzing_begins_with_is_read_and_refused_for_every_reason() -> None:
    target = Target()
    payloads = (*seeds.READINGS, *seeds.LABELS, *seeds.HOSTILE, b" " * 70_000)
    many_keys = b"{%s}" % b",".join(b'"%d":1' % i for i in range(5_000))
    for choice in (*range(len(TOPICS)), 16, 16 + 2, 32, 64 + TOPICS.index("verdict/a"), 240):
        for payload in (*payloads, many_keys):
            target(bytes((choice,)) + payload)
    assert target.read > 100
    assert target.refused.keys() == {"unreadable", *(f"refused-{r}" for r in get_args(Reason))}


target = Target()


@given(st.integers(0, 255), st.binary())
def test_no_bytes_raise(choice: int, payload: bytes) -> None:
    target(bytes((choice,)) + payload)


def test_fuzzing_for_a_little_while_finds_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        skip_or_fail("atheris is not installed; it has wheels for x86-64 only")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz",
            f"-runs={RUNS}",
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert f"Done {RUNS} runs" in done.stderr
