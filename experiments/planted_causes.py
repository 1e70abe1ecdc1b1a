"""Does the first sentence of an explanation name the cause?  40 planted causes, and equal code.

    python -m experiments.planted_causes [--equal 12] [--rounds 3] [--only PLANT]

Each trial profiles a network before and after an edit, in turns, and looks whether the first
sentence names the edited module and an operator or a setting of the edit.  The trials with equal
code must name no cause.
"""

import argparse
import itertools
import json
import shutil
import tempfile
import time
from pathlib import Path

from bench.ab.profiles import PairProfiler
from bench.ab.variants import Side
from bench.core.records import Case, Failure
from bench.explain.explanation import Explanation, explain
from bench.plan.config import RunOptions
from tests.subjects.planted_causes import NETWORKS, TRIALS, Trial
from tests.support.cases import case


def of_trial(trial: Trial) -> dict[str, Case]:
    """Return the case of each side."""
    _, shape, batch = NETWORKS[trial.network]
    return {
        side: case(
            subject=subject,
            mode=trial.mode,
            batch=batch,
            input=shape,
            memory_format=trial.memory_format,
            compile=trial.compile,
            device="cpu",
        )
        for side, subject in (("A", trial.before), ("B", trial.after))
    }


def equal_trials(count: int) -> list[dict[str, Case]]:
    """Return cases with the same code on both sides."""
    ways = itertools.cycle(itertools.product(NETWORKS, ("inference", "training")))
    found = []
    for network, mode in itertools.islice(ways, count):
        one = next(trial for trial in TRIALS if trial.network == network)
        both = of_trial(one)
        plain = {**both["A"].as_dict(), "mode": mode}
        found.append(dict.fromkeys("AB", Case(**plain)))
    return found


def names_the_cause(trial: Trial, found: Explanation) -> bool:
    """Return whether the first sentence names the module and an operator of the edit."""
    first = found.sentences[0]
    right = any(f"`{name}`" in first for name in trial.names)
    return right and any(operator in first for operator in trial.operators)


def profiler(folder: Path, rounds: int) -> PairProfiler:
    """Return a profiler of two sides that differ in the subject alone."""
    sides = {name: Side(name=name, asked=name, kind="settings") for name in "AB"}
    return PairProfiler(
        sides=sides,
        run=RunOptions(seed=0),
        directory=folder / "kept",
        scratch=folder / "scratch",
        tell=print,
        rounds=rounds,
    )


def main() -> None:
    """Run all trials and print a line for each."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--equal", type=int, default=12)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--only", default="", help="trials whose name has this text")
    asked.add_argument("--keep", type=Path, help="keep the profiles here")
    given = asked.parse_args()
    outcomes: list[tuple[Trial | None, bool]] = []
    trials = [
        (f"{one.network} {one.plant} {one.layer} {one.mode}", one, of_trial(one)) for one in TRIALS
    ]
    everything: list[tuple[str, Trial | None, dict[str, Case]]] = [*trials]
    everything += [("equal code", None, one) for one in equal_trials(given.equal)]
    chosen = [one for one in everything if given.only in one[0]]
    folder = given.keep or Path(tempfile.mkdtemp(prefix="planted-"))
    made = profiler(folder, given.rounds)
    with made.open([cases for _, _, cases in chosen]) as opened:
        for number, (name, trial, cases) in enumerate(chosen):
            opened.directory = folder / str(number)
            start_s = time.monotonic()
            both = opened.profile(cases)
            took_s = time.monotonic() - start_s
            found = both if isinstance(both, Failure) else explain(both["A"], both["B"])
            outcomes.append((trial, _told(name, trial, found, took_s)))
    if not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    planted = [good for trial, good in outcomes if trial is not None]
    equal = [good for trial, good in outcomes if trial is None]
    print(
        f"{sum(planted)} of {len(planted)} planted causes named; "
        f"{len(equal) - sum(equal)} of {len(equal)} with equal code called"
    )


def _told(name: str, trial: Trial | None, found: Explanation | Failure, took_s: float) -> bool:
    """Print the line of a trial, and return whether it went well."""
    if isinstance(found, Failure):
        print(f"FAILED {name}: {found.told}", flush=True)
        return False
    good = not found.causes if trial is None else names_the_cause(trial, found)
    line = {"trial": name, "said": found.sentences[0], "took_s": round(took_s, 1)}
    print("right" if good else "WRONG", json.dumps(line, ensure_ascii=False), flush=True)
    return good


if __name__ == "__main__":
    main()
