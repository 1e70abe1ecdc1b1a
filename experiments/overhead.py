"""Compute the cost of the harness beside the measuring: `python -m experiments.overhead RUN…`.

Reads journals.  For forked cases that are not compiled, the overhead is the wall time of an
outcome less its first call, warm-up and samples: the fork, building the subject (for a layer also
the call of the whole that shows what the layer gets), read-back, writing, the exit.
"""

import statistics
import sys
from pathlib import Path

from bench.core.records import Measurement
from bench.results import journal


def main(paths: list[Path]) -> None:
    """Print the figures of all the runs together."""
    found = [
        entry
        for path in paths
        for entry in journal.read(path / journal.NAME)
        if isinstance(entry, Measurement)
    ]
    eager = [one for one in found if one.case.compile == "off"]
    # autocast's untimed call of the read-back takes a tenth of a second where it is emulated
    plain = [one for one in eager if one.case.amp == "off"]
    extra_s = [one.wall_s - one.timed_s - one.metrics["first_call_s"] for one in plain]
    print(f"{len(found)} outcomes of {len(paths)} runs")
    if extra_s:
        deciles_s = statistics.quantiles(extra_s, n=10)
        print(
            f"a forked case costs {1e3 * statistics.median(extra_s):.0f} ms beside its first call, "
            f"warm-up and samples (90 % of them at most {1e3 * deciles_s[-1]:.0f} ms)"
        )
    warm_s = [one.wall_s for one in found if "compile_warm_s" in one.metrics]
    cold_s = [one.wall_s for one in found if "compile_cold_s" in one.metrics]
    for name, times_s in (("warm", warm_s), ("cold", cold_s)):
        if times_s:
            print(
                f"a compile case with a {name} cache takes {statistics.median(times_s):.1f} s, "
                f"at most {max(times_s):.1f} s, samples included"
            )
    if eager:
        timed_s, wall_s = sum(one.timed_s for one in eager), sum(one.wall_s for one in eager)
        print(f"{timed_s / wall_s:.0%} of the time of eager outcomes is warm-up and samples")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
