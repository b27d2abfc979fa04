"""Every command and every option of every part says what it does."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from headwater.cli import PARTS


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from walk(sub, f"{path} {name}")


COMMANDS = [pair for name, part in PARTS.items() for pair in walk(part.load(name), name)]


def test_the_parts_have_the_commands_that_the_guides_name() -> None:
    assert {path for path, _ in COMMANDS} >= {
        "model new",
        "model inspect",
        "model check",
        "model sign",
        "model key new",
        "agent init",
        "agent check",
        "agent run",
        "agent status",
        "agent federate",
        "coordinator init",
        "coordinator serve",
        "coordinator enrol",
        "coordinator status",
        "train",
        "predict",
        "demo",
    }


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_it_and_its_parameters_have_help(path: str, command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        said = getattr(parameter, "help", None)
        assert said, f"{path}: {parameter.name} has no help"
