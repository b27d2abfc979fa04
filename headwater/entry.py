"""The way into the ``headwater`` command, and a shorter one for an agent that stays in memory.

``headwater agent run`` as services have it needs none of what reads the other commands, nor what
paho-mqtt needs for WebSockets: together seven megabytes and a fifth of a second.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from headwater.errors import HeadwaterError
from headwater.logs import FORMAT_VARIABLE, LogFormat, configure_logging
from headwater.sparing import spared

LEVEL_VARIABLE, SETTINGS_VARIABLE = "HEADWATER_LOG_LEVEL", "HEADWATER_AGENT"

_RUN = ["agent", "run"]


def main() -> None:
    """Run the ``headwater`` command."""
    settings_file = agent_to_run(sys.argv[1:], os.environ)
    if settings_file is None:
        importlib.import_module("headwater.cli").main()
        return
    configure_logging(os.environ.get(LEVEL_VARIABLE, "info"))
    with spared("urllib.request"):
        importlib.import_module("paho.mqtt.client")
    try:
        importlib.import_module("headwater_agent.process").run_file(settings_file)
    except HeadwaterError as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            sys.stderr.write(f"error: {line}\n")
        sys.exit(error.exit_code)


def agent_to_run(arguments: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """Return the settings of the agent that is to run; None where anything else is asked for.

    Parameters
    ----------
    arguments
        Of the command. An option that is not that of the settings is something else.
    environ
        Its variables. One that does not have one of the values that it may have is so, too.
    """
    if list(arguments[:2]) != _RUN or environ.get("HEADWATER_TRACEBACK"):
        return None
    if environ.get(LEVEL_VARIABLE, "info") not in {"debug", "info", "warning", "error"}:
        return None
    if environ.get(FORMAT_VARIABLE, "auto") not in get_args(LogFormat):
        return None
    match arguments[2:]:
        case []:
            return Path(environ.get(SETTINGS_VARIABLE) or "agent.toml")
        case ["--settings", path]:
            return Path(path)
    return None
