"""The `bench ab` that measures one case on both revisions, here and now."""

import re
import shlex

from bench.core.axes import AXES
from bench.core.records import Row

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
UNKNOWN_COMMIT = "BASELINE_REVISION"  # to be filled in by hand


def settling_command(row: Row, commit: object, threshold: float = 0.05) -> str:
    """Ready for a shell.

    commit: the baseline's, as its run.json says; anything that is none is not believed.
    """
    known = isinstance(commit, str) and _COMMIT.fullmatch(commit)
    words = ["bench", "ab", str(commit) if known else UNKNOWN_COMMIT, "."]
    words += ["--subject", str(row.subject)]
    for axis in AXES:
        if (value := getattr(row, axis.name)) is not None:
            words += [axis.flag, str(value)]
    if threshold != 0.05:
        words += ["--threshold", repr(threshold)]
    return shlex.join(words)
