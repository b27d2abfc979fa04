"""What the parts share stays small: it imports no part, and nothing that a part alone needs."""

from __future__ import annotations

import ast
from pathlib import Path

import headwater

HERE = Path(headwater.__file__).parent
FOR_PARTS_ONLY = {"flwr", "onnx", "onnxruntime", "paho", "river", "starlette"}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_what_all_parts_share_imports_none_of_them() -> None:
    for path in sorted(HERE.glob("*.py")):
        parts = {name for name in imports(path) if name.startswith("headwater_")}
        assert not parts, path.name
        assert not imports(path) & FOR_PARTS_ONLY, path.name


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    for path in sorted(HERE.glob("*.py")):
        assert ast.get_docstring(ast.parse(path.read_text())), path.name


def test_the_version_is_that_of_a_release() -> None:
    assert all(part.isdigit() for part in headwater.__version__.split("."))
