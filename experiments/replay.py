"""False alarms and power of `bench ab`'s decision, replayed on pairs of identical processes.

    python -m experiments.replay                       both files, 1600 suites each
    python -m experiments.replay --data FILE           one of them
    python -m experiments.replay --interrupted         a budget that ends anywhere, in either stage
    python -m experiments.replay --joint               all cases of a suite from the same pairs
    python -m experiments.replay --without             no pair twice, as long as there are others
    python -m experiments.replay --made                made-up noise of every kind, 1 to 60 cases
    python -m experiments.replay --made --interrupted  the same, with budgets that end anywhere

A line of a file is a pair: by case the samples of two fresh processes of identical code, taken in
turns.  A suite is all cases of a file, each with pairs that are drawn from the file's thirty, with
replacement where nothing else is said: so the rates are those of such pairs, and not of all
machines.  Which of a pair's processes is called A is drawn as well: the code is identical, and the
chance mean of thirty noisy pairs would else count as a real difference (--fixed leaves the sides as
they were measured).  In a slowed suite one case, drawn at random, takes longer on side B.

Made-up noise is that of a pair's value (`experiments.suites`): normal; heavy tails (t with 2
degrees of freedom); processes in one of two modes, half of them or one in eight slow; spikes; noisy
minutes; log-normal.  The rule is `experiments.rule`, an array at a time;
`tests/experiments/test_replay.py` holds it against `bench.verdict.paired_test`.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from experiments import suites
from experiments.rule import NAMES, REGRESSED, Values, judge

DATA = Path(__file__).parents[1] / "tests" / "data"
FILES = ("aa-pairs.jsonl.gz", "aa-pairs-convnet.jsonl.gz")
SLOWDOWNS = {0.02: (0.05,), 0.05: (0.07, 0.08, 0.10, 0.15)}  # by threshold
FAMILIES = (1, 8, 60)
THRESHOLDS = (0.02, 0.05, 0.10)
SDS = (0.03, 0.12, 0.25)


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of some suites."""

    alarms: int  # suites in which any case is REGRESSED
    verdicts: Counter[str]  # of the cases that were looked at
    first: float  # pairs of a suite
    fresh: float


def rates(
    both: tuple[Values, Values],
    threshold: float,
    rng: np.random.Generator,
    *,
    effect: float = 0.0,
    interrupted: bool = False,
) -> Rates:
    """Return the rates.  effect: of one case of each suite, which alone is then counted."""
    which = None
    if effect:
        both, which = suites.slowed(both, effect, rng)
    count, cases, _ = both[0].centres.shape
    ended = np.asarray(rng.random(count), np.float64) if interrupted else None
    found = judge(*both, threshold, ended)
    rows = np.ones((count, cases), bool)
    if which is not None:
        rows = np.arange(cases)[None, :] == which[:, None]
    verdicts = Counter(NAMES[one] for one in found.verdicts[rows])
    return Rates(
        int((found.verdicts == REGRESSED).any(-1).sum()),
        verdicts,
        float((found.first * rows).sum() / count),
        float((found.fresh * rows).sum() / count),
    )


def of_file(
    path: Path,
    draws: int,
    *,
    threshold: float = 0.05,
    effect: float = 0.0,
    seed: int = 0,
    interrupted: bool = False,
    **way: bool,
) -> Rates:
    """Return the rates of a file.  way: of `experiments.suites.drawn`."""
    rng = np.random.default_rng(seed)
    both = suites.drawn(suites.load(path), draws, rng, **way)
    return rates(both, threshold, rng, effect=effect, interrupted=interrupted)


def of_noise(
    kind: str,
    cases: int,
    sd: float,
    draws: int,
    *,
    threshold: float,
    seed: int = 0,
    interrupted: bool = False,
) -> Rates:
    """Return the rates of identical code, suites in parts because of the memory."""
    alarms, verdicts, first, fresh = 0, Counter[str](), 0.0, 0.0
    for part, some in enumerate(_parts(draws, cases)):
        rng = np.random.default_rng([seed, part])
        found = rates(
            suites.made(kind, some, cases, sd, rng), threshold, rng, interrupted=interrupted
        )
        alarms, verdicts = alarms + found.alarms, verdicts + found.verdicts
        first, fresh = first + found.first * some, fresh + found.fresh * some
    return Rates(alarms, verdicts, first / draws, fresh / draws)


def _parts(draws: int, cases: int) -> Iterator[int]:
    most = max(1, 20_000 // cases)
    while draws > 0:
        yield min(most, draws)
        draws -= most


def interval(count: int, of: int) -> str:
    """Wilson's 95 % interval (1927)."""
    ends = binomtest(count, of).proportion_ci(method="wilson")
    return f"{count / of:.2%} ({ends.low:.2%} to {ends.high:.2%})"


def show_file(path: Path, draws: int, *, interrupted: bool, **way: bool) -> None:
    cases = len(suites.load(path).centres)
    print(f"{path.name}: suites of {cases} cases, {draws} draws each")
    for threshold, effects in SLOWDOWNS.items():
        same = of_file(path, draws, threshold=threshold, interrupted=interrupted, **way)
        print(f"  threshold {threshold:.0%}")
        print(f"    identical: REGRESSED in {interval(same.alarms, draws)} of the suites")
        shares = ", ".join(f"{name} {n / draws / cases:.1%}" for name, n in same.verdicts.items())
        print(f"      cases: {shares}; pairs a suite: {same.first:.1f} and {same.fresh:.1f} fresh")
        for effect in effects:
            slow = of_file(
                path, draws, threshold=threshold, effect=effect, interrupted=interrupted, **way
            )
            found, missed = (slow.verdicts[name] for name in ("REGRESSED", "SAME"))
            print(
                f"    +{effect:.0%}: found {interval(found, draws)}; "
                f"SAME {interval(missed, draws)}; its pairs {slow.first + slow.fresh:.1f}",
                flush=True,
            )


def show_made(draws: int, *, interrupted: bool) -> None:
    """The worst SD of each kind of noise, threshold and family."""
    print(f"identical code, made-up noise, {draws} suites each; worst of SD {SDS}")
    for kind in suites.NOISES:
        for threshold in THRESHOLDS:
            worst = []
            for cases in FAMILIES:
                found = {
                    sd: of_noise(
                        kind, cases, sd, draws, threshold=threshold, interrupted=interrupted
                    ).alarms
                    for sd in SDS
                }
                sd = max(found, key=lambda one: (found[one], one))
                worst.append(f"{cases}: {interval(found[sd], draws)} at SD {sd:.0%}")
            print(f"  {kind:9s} threshold {threshold:.0%}  {'; '.join(worst)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=1600)
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--fixed", action="store_true", help="sides as they were measured")
    parser.add_argument("--joint", action="store_true", help="cases share their pairs")
    parser.add_argument("--without", action="store_true", help="draws without replacement")
    parser.add_argument("--interrupted", action="store_true", help="the budget ends anywhere")
    parser.add_argument("--made", action="store_true", help="made-up noise instead of a file")
    asked = parser.parse_args()
    if asked.made:
        show_made(asked.draws, interrupted=asked.interrupted)
        return
    for path in asked.data or [DATA / name for name in FILES]:
        show_file(
            path,
            asked.draws,
            interrupted=asked.interrupted,
            fixed=asked.fixed,
            joint=asked.joint,
            replace=not asked.without,
        )


if __name__ == "__main__":
    main()
