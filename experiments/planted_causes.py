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
from collections.abc import Mapping
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


def profiled(
    cases: Mapping[str, Case], folder: Path, rounds: int
) -> tuple[Explanation | Failure, float]:
    """Return the explanation of one trial, and the seconds that it took."""
    start_s = time.monotonic()
    sides = {name: Side(name=name, asked=name, kind="settings") for name in "AB"}
    profiler = PairProfiler(
        sides=sides,
        run=RunOptions(seed=0),
        directory=folder / "kept",
        scratch=folder / "scratch",
        tell=print,
        rounds=rounds,
    )
    with profiler.open([cases]):
        both = profiler.profile(cases)
    found = both if isinstance(both, Failure) else explain(both["A"], both["B"])
    return found, time.monotonic() - start_s


def main() -> None:
    """Run all trials and print a line for each."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--equal", type=int, default=12)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--only", default="", help="trials whose name has this text")
    asked.add_argument("--keep", type=Path, help="keep the profiles here")
    given = asked.parse_args()
    right, called, of_equal = 0, 0, 0
    trials = [
        (f"{one.network} {one.plant} {one.layer} {one.mode}", one, of_trial(one)) for one in TRIALS
    ]
    everything: list[tuple[str, Trial | None, dict[str, Case]]] = [*trials]
    everything += [("equal code", None, one) for one in equal_trials(given.equal)]
    chosen = [one for one in everything if given.only in one[0]]
    for number, (name, trial, cases) in enumerate(chosen):
        folder = Path(tempfile.mkdtemp(prefix="planted-"))
        try:
            found, took_s = profiled(cases, folder, given.rounds)
            if given.keep:
                shutil.copytree(folder / "kept", given.keep / str(number))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(found, Failure):
            print(f"FAILED {name}: {found.told}", flush=True)
            continue
        if trial is None:
            of_equal += 1
            called += bool(found.causes)
            good = not found.causes
        else:
            good = names_the_cause(trial, found)
            right += good
        word = "right" if good else "WRONG"
        line = {"trial": name, "said": found.sentences[0], "took_s": round(took_s, 1)}
        print(word, json.dumps(line, ensure_ascii=False), flush=True)
    count = sum(one[1] is not None for one in chosen)
    print(f"{right} of {count} planted causes named; {called} of {of_equal} with equal code called")


if __name__ == "__main__":
    main()
