"""Finds the parts of a case's step, and nothing else: one more round of a profile, in its process.

The first round is the whole profile (`bench.worker.jobs.profile`).  Further rounds show how far
each part differs from process to process.
"""

import json
import shutil

from bench.core.protocol import Request
from bench.core.records import StaticMetrics
from bench.worker.jobs import prepare, profile
from bench.worker.model.step import warm_up_calls
from bench.worker.process import limits
from bench.worker.profiler import fused
from bench.worker.profiler.device import launched_within, work
from bench.worker.profiler.owners import middle, steps, timeline
from bench.worker.profiler.ranges import Ranges

PLAIN_S, TRACED_S = 0.4, 0.5  # for the steps without the profiler, and for those with it
LEAST, MOST_PLAIN, MOST_TRACED = 5, 40, 12  # steps


def run(request: Request) -> StaticMetrics:
    """Do the job.  Raises the errors of building the case, and Invalid."""
    with fused.Recorder().on(request.case.compile):  # the same code as in the first round
        built = prepare.build(request)
        begun = prepare.begin(built)
        warm_up_calls(built.step)
    folder = profile.folder_of(request.out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with prepare.no_recompiles(request.case):
        call_s = min(profile.steps_s(built, built.step, 2))
        plain = profile.without_profiler(built, _count(PLAIN_S, call_s, MOST_PLAIN))
        ranges = Ranges(built.prepared.module if built.step is built.eager else None)
        _, events, profiled_s = profile.traced(built, ranges, _count(TRACED_S, call_s, MOST_TRACED))
    prepare.end(built, begun, plain["whole_s"])
    every = steps(events)[profile.WARM_STEPS :]
    windows = middle(every, max(profile.MIDDLE_STEPS, len(every) // 2))
    if not windows:
        raise profile.ProfileError("torch's profiler lost the step")
    owners, done = timeline(events, ranges.rows), work(events)
    works = [launched_within(done, one.start_ns, one.end_ns) for one in windows]
    found = profile.parts_of(events, ranges, windows, owners, works)
    found["unprofiled_s"], found["profiled_s"] = plain["whole_s"], profiled_s
    limits.allow_writing()
    (folder / profile.FOUND).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
    return StaticMetrics(case=request.case, metrics={"profiled_s": profiled_s})


def _count(budget_s: float, call_s: float, most: int) -> int:
    """Return how many steps fit into a budget."""
    return max(LEAST, min(most, int(budget_s / max(call_s, 1e-6))))
