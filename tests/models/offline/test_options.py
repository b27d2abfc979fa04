from __future__ import annotations

import pytest
import typer
from typer.utils import get_params_from_function

from headwater_models.offline.commands import predict_app, train_app


@pytest.mark.parametrize("app", [train_app, predict_app], ids=["train", "predict"])
def test_every_argument_and_option_has_help(app: typer.Typer) -> None:
    command = typer.main.get_command(app)
    assert command.help
    assert command.callback is not None
    for name, declared in get_params_from_function(command.callback).items():
        assert declared.default.help, name
