"""``python -m headwater_agent``: the ``headwater agent`` command by itself."""

from __future__ import annotations

import sys

from headwater.errors import HeadwaterError
from headwater.logs import configure_logging
from headwater_agent.cli import app


def main() -> None:
    """Run the command; an error that a user can cause becomes a sentence and its exit code."""
    configure_logging("info")
    try:
        app(prog_name="python -m headwater_agent")
    except HeadwaterError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
