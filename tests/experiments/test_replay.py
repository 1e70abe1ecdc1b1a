"""The replay's arrays decide as `bench.verdict.paired_test` does, case by case."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from bench.verdict import evidence, looks
from bench.verdict.paired_test import PairedPhase, decide, settled, suspects
from experiments.rule import NAMES, Values, judge
from experiments.suites import NOISES, noise


def with_pair(case: PairedPhase, stage: looks.Stage, centre: float, mean: float) -> PairedPhase:
    """One pair more."""
    if stage == "first":
        means = (*(case.first_means or ()), mean)
        return dataclasses.replace(case, first=(*case.first, centre), first_means=means)
    means = (*(case.fresh_means or ()), mean)
    return dataclasses.replace(case, fresh=(*case.fresh, centre), fresh_means=means)


def one_by_one(
    first: Values, fresh: Values, suite: int, threshold: float, most: int | None
) -> tuple[list[str], int]:
    """A suite as `bench.ab.scheduler` goes through it.  most: comparisons.  Verdicts, and pairs."""
    cases = [
        PairedPhase(key=str(place), first=(), first_means=(), fresh_means=())
        for place in range(first.centres.shape[1])
    ]
    spent = 0

    def stage_of(stage: looks.Stage, values: Values, family: int, chosen: Sequence[str]) -> bool:
        nonlocal spent
        for number in range(values.centres.shape[-1]):
            for place, case in enumerate(cases):
                if case.key not in chosen or settled([case], stage, number, threshold, family):
                    continue
                if most is not None and spent >= most:
                    return False
                spent += 1
                centre = float(values.centres[suite, place, number])
                mean = float(values.means[suite, place, number])
                cases[place] = with_pair(case, stage, centre, mean)
        return True

    if stage_of("first", first, 0, [str(case.key) for case in cases]):
        again = suspects(cases, threshold)
        stage_of("fresh", fresh, len(again), [str(key) for key in again])
    return [one.verdict for one in decide(cases, (), threshold)], spent


@pytest.mark.slow
@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("ends", [False, True], ids=["whole", "budget"])
def test_the_arrays_say_of_every_case_what_the_functions_that_decide_say(
    kind: str, ends: bool
) -> None:
    rng = np.random.default_rng(len(kind))
    suites, cases = 12, 6
    for threshold, sd in ((0.02, 0.03), (0.05, 0.02), (0.05, 0.12), (0.10, 0.25)):
        drawn = []
        shift = rng.choice([0.0, 0.0, 0.02, 0.06, 0.10, -0.10], (suites, cases, 1))
        for pairs in (looks.FIRST_PAIRS, looks.FRESH_PAIRS):
            centres = noise(kind, (suites, cases, pairs), sd, rng) + shift
            drawn.append(Values(centres, centres + rng.normal(0.01, sd / 3, centres.shape)))
        ended = rng.random(suites) if ends else None
        found = judge(drawn[0], drawn[1], threshold, ended)
        whole = judge(drawn[0], drawn[1], threshold)
        for suite in range(suites):
            wanted = whole.first[suite].sum() + whole.fresh[suite].sum()
            most = None if ended is None else int(ended[suite] * (wanted + 1))
            verdicts, spent = one_by_one(drawn[0], drawn[1], suite, threshold, most)
            assert [NAMES[one] for one in found.verdicts[suite]] == verdicts
            assert found.first[suite].sum() + found.fresh[suite].sum() == spent


def test_ranks_and_their_chances_are_those_of_scipy() -> None:
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(3)
    for pairs in (6, 8, 16, 40):
        values = rng.normal(0.02, 0.05, pairs)
        known = wilcoxon(values - 0.01, alternative="greater", method="exact").pvalue
        assert evidence.rank_p(values.tolist(), 0.01) == pytest.approx(known)
    many = rng.normal(0.02, 0.05, 90)
    known = wilcoxon(many, alternative="greater", method="approx", correction=True).pvalue
    assert evidence.rank_p(many.tolist(), 0.0) == pytest.approx(known)
