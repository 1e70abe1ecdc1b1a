"""One run of `bench backfill`, in a process of its own inside the tree of a past commit.

The suite is the current one; the subjects come from the folders of `CONVNET_BENCH_PATH`
(`bench.start`).  The request is a JSON object on standard input.
"""

import json
import sys
from pathlib import Path
from typing import Any

from bench.commands import run as measure
from bench.core.errors import UserError, one_line
from bench.core.exit_codes import INTERRUPTED, WRONG_USE
from bench.terminal.progress import wide_console


def asked_of(request: dict[str, Any]) -> measure.Asked:
    """Return the flags of the run.  Raises KeyError."""
    return measure.Asked(
        config=Path(request["config"]),
        axes={name: tuple(values) for name, values in request["axes"].items()},
        subjects=tuple(request["subjects"]),
        options=request["options"],
        quick=request["quick"],
        out=Path(request["out"]),
        command=tuple(request["command"]),
    )


def main() -> None:
    """Measure, and exit as `bench run` does."""
    asked = asked_of(json.load(sys.stdin))
    try:
        code = measure.measured(asked, wide_console()).code
    except UserError as error:
        sys.stderr.write(f"{one_line(error)}\n")
        code = WRONG_USE
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
