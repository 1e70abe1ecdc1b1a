"""The `bench ab` that measures one case on both revisions, here and now."""

import re
import shlex

from bench.compare.match import Line
from bench.core.axes import AXES

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
UNKNOWN_COMMIT = "BASELINE_REVISION"  # to be filled in by hand


def settling_command(line: Line, commit: object, threshold: float = 0.05) -> str:
    """Ready for a shell.

    line:   a row of the case.
    commit: the baseline's, as its run.json says; anything that is none is not believed.
    """
    known = isinstance(commit, str) and _COMMIT.fullmatch(commit)
    words = ["bench", "ab", str(commit) if known else UNKNOWN_COMMIT, "."]
    words += ["--subject", str(line["subject"])]
    for axis in AXES:
        if line[axis.name] is not None:
            words += [axis.flag, str(line[axis.name])]
    if threshold != 0.05:
        words += ["--threshold", repr(threshold)]
    return shlex.join(words)
