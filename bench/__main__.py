"""`python -m bench` and the command `bench`."""

import sys

from bench import start

# `python -m` puts the current directory, which is the user's, before Python's own modules.
start.remove_current_directory()

from typer.main import get_command

from bench.cli import app, failed
from bench.core import wrong_use
from bench.core.errors import refused
from bench.core.exit_codes import INTERRUPTED, WRONG_USE
from bench.terminal.streams import steady

COMMAND = get_command(app)


def _wrong_use(message: str) -> int:
    words = " ".join(sys.argv[1:2])
    command = f"bench {words}" if words in getattr(COMMAND, "commands", {}) else "bench"
    said = wrong_use.said(message, sys.argv[1:])
    print(f"bench: {said}; see {command} --help", file=sys.stderr)
    return WRONG_USE


def main() -> None:
    """Run the command line; an unknown flag or command is one line, like other errors."""
    sys.stdout, sys.stderr = output, _ = steady(sys.stdout), steady(sys.stderr)
    try:
        code = COMMAND.main(prog_name="bench", standalone_mode=False)
    except Exception as error:
        # The class of these errors is click's own or, in later versions, a copy inside typer.
        message = getattr(error, "format_message", None)
        code = failed(error) if message is None else _wrong_use(message())
    except KeyboardInterrupt:
        code = INTERRUPTED
    output.flush()
    if output.problem and code != INTERRUPTED:
        print(f"bench: {refused(output.problem, 'standard output')}", file=sys.stderr)
        code = WRONG_USE
    sys.exit(code)


if __name__ == "__main__":
    main()
