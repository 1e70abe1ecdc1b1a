"""Test whether explanations name the cause first: 40 planted causes, and equal code.

    python -m experiments.planted_causes [--equal 12] [--rounds 3] [--page docs/explain.md]

Each trial profiles a network before and after an edit, in turns, and looks whether the first
sentence names the edited module and an operator or a setting of the edit.  The trials with equal
code must name no cause.
"""

import argparse
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.ab.profiles import PairProfiler
from bench.ab.variants import Side
from bench.core.records import Case, Failure
from bench.explain.explanation import Explanation, explain
from bench.plan.config import RunOptions
from bench.results import pair_profiles
from tests.subjects.planted_causes import NETWORKS, TRIALS, Trial
from tests.support.cases import case

BEGINS, ENDS = "<!-- planted causes -->", "<!-- end -->"


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
            dtype="as-built" if trial.plant == "float64" else "float32",
            threads="1",  # other work on the machine then disturbs least
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
    """Run all trials, or read those of an earlier run, and print a line for each."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--equal", type=int, default=12)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--only", default="", help="trials whose name has this text")
    asked.add_argument("--keep", type=Path, help="keep the profiles here")
    asked.add_argument("--read", type=Path, help="explain the profiles that were kept here")
    asked.add_argument("--page", type=Path, help="write the sentences into this page")
    given = asked.parse_args()
    if given.page and BEGINS not in given.page.read_text(encoding="utf-8"):
        asked.error(f"{given.page}: has no line {BEGINS}")
    trials: list[tuple[str, Trial | None, dict[str, Case]]] = [
        (f"{one.network} {one.plant} {one.layer} {one.mode}", one, of_trial(one)) for one in TRIALS
    ]
    trials += [("equal code", None, one) for one in equal_trials(given.equal)]
    chosen = [one for one in trials if given.only in one[0]]
    found = _read(given.read, chosen) if given.read else _profiled(chosen, given.rounds, given.keep)
    outcomes = [(name, trial, said, _told(name, trial, said)) for name, trial, said in found]
    planted = [good for _, trial, _, good in outcomes if trial is not None]
    equal = [good for _, trial, _, good in outcomes if trial is None]
    summary = (
        f"{sum(planted)} of {len(planted)} planted causes named; "
        f"{len(equal) - sum(equal)} of {len(equal)} with equal code called"
    )
    print(summary)
    if given.page:
        _write_page(given.page, outcomes)


Found = Explanation | Failure


def _profiled(
    chosen: Sequence[tuple[str, Trial | None, dict[str, Case]]], rounds: int, keep: Path | None
) -> Iterator[tuple[str, Trial | None, Found]]:
    folder = keep or Path(tempfile.mkdtemp(prefix="planted-"))
    made = profiler(folder, rounds)
    with made.open([cases for _, _, cases in chosen]) as opened:
        for number, (name, trial, cases) in enumerate(chosen):
            opened.directory = folder / str(number)
            both = opened.profile(cases)
            yield name, trial, both if isinstance(both, Failure) else explain(both["A"], both["B"])
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _read(
    folder: Path, chosen: Sequence[tuple[str, Trial | None, dict[str, Case]]]
) -> Iterator[tuple[str, Trial | None, Found]]:
    """Yield the explanations of the trials whose profiles were kept."""
    for number, (name, trial, _) in enumerate(chosen):
        own = folder / str(number)
        if pair_profiles.is_pair(own) and all(
            list(own.glob(f"{side}/*/parts.json")) for side in "AB"
        ):
            (a,), (b,) = pair_profiles.load(own)
            yield name, trial, explain(a, b)


def _write_page(page: Path, outcomes: Sequence[tuple[str, Trial | None, Found, bool]]) -> None:
    """Replace the examples of a page: the first sentence of the first trial of each plant."""
    lines, seen = list[str](), set[tuple[str, str]]()
    for name, trial, found, _ in outcomes:
        if trial is None or isinstance(found, Failure) or (trial.plant, trial.network) in seen:
            continue
        seen.add((trial.plant, trial.network))
        lines.append(f"- {name}: {found.sentences[0]}")
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGINS)
    tail = rest.partition(ENDS)[2]
    page.write_text(f"{head}{BEGINS}\n{chr(10).join(lines)}\n{ENDS}{tail}", encoding="utf-8")


def _told(name: str, trial: Trial | None, found: Found) -> bool:
    """Print the line of a trial, and return whether it went well."""
    if isinstance(found, Failure):
        print(f"FAILED {name}: {found.told}", flush=True)
        return False
    good = not found.causes if trial is None else names_the_cause(trial, found)
    line = {"trial": name, "said": found.sentences[0]}
    print("right" if good else "WRONG", json.dumps(line, ensure_ascii=False), flush=True)
    return good


if __name__ == "__main__":
    main()
