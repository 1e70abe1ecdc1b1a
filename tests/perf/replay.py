"""False alarms and power of `bench ab`'s decision, replayed on real pairs of identical processes.

    python -m tests.perf.replay                             both files, 3200 draws each
    python -m tests.perf.replay --draws 500 --data FILE     one of them
    python -m tests.perf.replay --interrupted               a budget that ends in the second stage

A line of a file is a pair: by case the samples of two fresh processes of identical code, taken in
turns.  A draw is a suite of all its cases: FIRST_PAIRS pairs of each, drawn with replacement, then
FRESH_PAIRS for the suspects, fewer where a case is clear early.  Which of a pair's processes is
called A is drawn as well: the code is identical, and the chance mean of thirty noisy pairs would
else count as a real difference (--fixed leaves the sides as they were measured).  With
--interrupted the second stage ends after a number of comparisons that is drawn, too.  In a slowed
suite the samples of one case, drawn at random, are multiplied on side B.  The functions that decide
are those of `bench.read.decide`.
"""

import argparse
import dataclasses
import gzip
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy.stats import binomtest

from bench.read.decide import (
    FIRST_PAIRS,
    FRESH_PAIRS,
    Case,
    Stage,
    decide,
    pair_value,
    settled,
    suspects,
)

DATA = Path(__file__).parents[1] / "data"
FILES = ("aa-pairs.jsonl.gz", "aa-pairs-convnet.jsonl.gz")
SLOWDOWNS = (1.05, 1.07, 1.10, 1.15)
THRESHOLD = 0.05

# By case the values of its pairs, with either of the two processes as B.
Values = Mapping[str, Sequence[tuple[float, ...]]]


def load(path: Path, factor: float = 1.0, *, fixed: bool = False) -> Values:
    """By case the values of its pairs, side B slowed by `factor`."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for key, (a, b) in json.loads(line)["s"].items():
                ways = ((a, b),) if fixed else ((a, b), (b, a))
                values = [pair_value(one, [factor * x for x in other]) for one, other in ways]
                found.setdefault(key, []).append(tuple(v for v in values if v is not None))
    return found


def suite(
    same: Values,
    slowed: Values,
    key: str | None,
    rng: random.Random,
    spent: Counter[str],
    *,
    interrupted: bool = False,
) -> dict[str, str]:
    """The verdicts of one drawn suite, in which `key` is slowed.

    spent:       counts the pairs.
    interrupted: the second stage ends anywhere, its beginning included.
    """

    def draw(case: str) -> float:
        pair = rng.choice((slowed if case == key else same)[case])
        return rng.choice(pair)

    cases = {one: Case(key=one, first=()) for one in same}
    family = 0

    def stage_of(stage: Stage, pairs: int, keys: Sequence[str], most: int | None = None) -> None:
        """most: comparisons, then the budget ends."""
        for number in range(pairs):
            for place, one in enumerate(keys):
                if most is not None and number * len(keys) + place >= most:
                    return
                if not settled([cases[one]], stage, number, THRESHOLD, family):
                    old, value = cases[one], draw(one)
                    cases[one] = (
                        dataclasses.replace(old, first=(*old.first, value))
                        if stage == "first"
                        else dataclasses.replace(old, fresh=(*old.fresh, value))
                    )

    stage_of("first", FIRST_PAIRS, list(cases))
    again = suspects(list(cases.values()), THRESHOLD)
    family = len(again)
    end = rng.randrange(FRESH_PAIRS * family + 1) if interrupted else None
    stage_of("fresh", FRESH_PAIRS, again, end)
    spent.update(
        first=sum(len(one.first) for one in cases.values()),
        fresh=sum(len(one.fresh) for one in cases.values()),
        suites=1,
    )
    return {one.key: one.verdict for one in decide(list(cases.values()), (), THRESHOLD)}


def false_alarms(
    path: Path, draws: int, seed: int = 0, *, fixed: bool = False, interrupted: bool = False
) -> tuple[int, Counter[str], Counter[str]]:
    """Suites of identical code in which any case is REGRESSED; the verdicts of all; the pairs."""
    same, rng, alarms = load(path, fixed=fixed), random.Random(seed), 0
    verdicts: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for _ in range(draws):
        found = suite(same, same, None, rng, spent, interrupted=interrupted)
        alarms += "REGRESSED" in found.values()
        verdicts.update(found.values())
    return alarms, verdicts, spent


def power(
    path: Path,
    factor: float,
    draws: int,
    seed: int = 0,
    *,
    fixed: bool = False,
    interrupted: bool = False,
) -> Counter[str]:
    """The verdicts of the slowed case."""
    same, slowed = load(path, fixed=fixed), load(path, factor, fixed=fixed)
    rng = random.Random(seed)
    verdicts: Counter[str] = Counter()
    for _ in range(draws):
        key = rng.choice(list(same))
        found = suite(same, slowed, key, rng, Counter(), interrupted=interrupted)
        verdicts[found[key]] += 1
    return verdicts


def interval(count: int, of: int) -> str:
    """Wilson's 95 % interval (1927)."""
    ends = binomtest(count, of).proportion_ci(method="wilson")
    return f"{count / of:.1%} ({ends.low:.1%} to {ends.high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=3200)
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--fixed", action="store_true", help="sides as they were measured")
    parser.add_argument("--interrupted", action="store_true", help="the second stage ends early")
    asked = parser.parse_args()
    way = {"fixed": asked.fixed, "interrupted": asked.interrupted}
    for path in asked.data or [DATA / name for name in FILES]:
        alarms, verdicts, spent = false_alarms(path, asked.draws, **way)
        cases = sum(verdicts.values())
        print(f"{path.name}: suites of {len(load(path))} cases, {asked.draws} draws each")
        print(f"  identical code: REGRESSED in {interval(alarms, asked.draws)} of the suites")
        shares = ", ".join(f"{name} {n / cases:.1%}" for name, n in verdicts.most_common())
        print(f"    cases: {shares}")
        each = {stage: spent[stage] / asked.draws for stage in ("first", "fresh")}
        print(f"    pairs a suite: {each['first']:.1f} first, {each['fresh']:.1f} fresh")
        for factor in SLOWDOWNS:
            found = power(path, factor, asked.draws, **way)
            rest = ", ".join(
                f"{name} {n / asked.draws:.1%}"
                for name, n in found.most_common()
                if name != "REGRESSED"
            )
            print(f"  +{factor - 1:.0%}: found {interval(found['REGRESSED'], asked.draws)}; {rest}")


if __name__ == "__main__":
    main()
