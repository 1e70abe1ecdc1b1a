"""Print the plan for `bench run --list`: cases, left-out combinations, expected duration."""

from collections import Counter

from rich.console import Console
from rich.text import Text

from bench.core import units
from bench.core.text import number_of, printable
from bench.plan.expand import Plan


def show(plan: Plan, estimate_s: float, console: Console) -> None:
    """Print the plan with one case id on each line, so that it can be searched and piped."""

    def say(text: str) -> None:
        console.print(Text(printable(text)), soft_wrap=True)

    for case in plan.cases:
        say(case.case_id)
    if plan.left_out:
        say("")
        say("left out:")
        counted = Counter((one.subject, one.reason) for one in plan.left_out)
        for (subject, reason), count in counted.items():
            say(f"  {subject}: {reason} ({number_of(count, 'combination')})")
    say("")
    say(
        f"{number_of(len(plan.cases), 'case')}, about {units.duration(estimate_s)} (min:s) "
        "on two cores"
    )
