"""Print the plan for `bench run --list`: cases, left-out combinations, expected duration."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

from rich.console import Console

from bench.core import units
from bench.core.text import number_of
from bench.plan.case_costs import Estimate
from bench.plan.expand import BATCH, DEVICE, SWEEP, Plan
from bench.verdict import tables


def show(plan: Plan, estimate: Estimate, names: Mapping[str, str], console: Console) -> None:
    """Print the plan with one case id on each line, so that it can be searched and piped.

    names: of the devices, as their drivers report them.
    """

    say = partial(tables.say, console)

    for case in plan.cases:
        say(case.case_id)
    for case in plan.largest:
        say(case.case_id.replace(":b1:", ":bmax:", 1))
    if plan.left_out:
        say("")
        say("left out:")
        counted = Counter(
            (one.subject, one.reason, one.settings in (BATCH, SWEEP, DEVICE))
            for one in plan.left_out
        )
        for (subject, reason, all_of_it), count in counted.items():
            many = f" ({number_of(count, 'combination')})"
            say(f"  {subject}: {reason}{'' if all_of_it else many}")
    say("")
    say(_duration(plan, estimate, names))


def _duration(plan: Plan, estimate: Estimate, names: Mapping[str, str]) -> str:
    """Return the number of cases and the time, in total and by device where there are several."""
    count = len(plan.cases) + len(plan.largest)
    total = f"{number_of(count, 'case')}, about {units.duration(estimate.total_s)} (min:s)"
    if set(estimate.by_device_s) == {"cpu"}:
        return f"{total} on two cores"
    counts = Counter(case.device for case in (*plan.cases, *plan.largest))
    shares = [
        f"{number_of(counts[device], 'case')} on {device} ({names.get(device, device)}), "
        f"{units.duration(share_s)}"
        for device, share_s in estimate.by_device_s.items()
    ]
    return f"{total}: {'; '.join(shares)}"
