"""What bears on a whole comparison, a sentence each."""

from collections.abc import Sequence

from bench.ab.journal import Pair
from bench.ab.plan import Planned
from bench.ab.scheduler import Pairs
from bench.core import units
from bench.verdict import looks, paired_test

DISTURBED = "{n} of {of} pairs were disturbed by other work on this machine (contended)."
RESTLESS = "In {n} of {of} pairs the times had not settled (unsteady)."
GROWING = "In {n} of {of} pairs each call did more than the last or left more behind (growing)."
NOTES = {"contended": DISTURBED, "unsteady": RESTLESS, "growing": GROWING}


def notes(
    planned: Planned, pairs: Pairs, history: Sequence[float], incomplete: str | None
) -> list[str]:
    """incomplete: why not all was measured."""
    found = [*_of_null(pairs)]
    least = paired_test.bias(history)
    if least > planned.threshold:
        found.append(
            f"A against itself came to {least / 2:.1%} in the last comparisons of this machine: "
            f"the threshold is {least:.1%} instead of {planned.threshold:.1%}."
        )
    if planned.thresholds:
        values = ", ".join(map(units.percent, sorted(set(planned.thresholds.values()))))
        count = f"{len(planned.thresholds)} of {len(planned.cases)} cases"
        found.append(f"{count} are judged by a threshold of their own: {values}.")
    found += [*_flagged(pairs), *_not_counted(planned, pairs), *_unverified(planned, pairs)]
    return [*found, *([f"The comparison is not complete: {incomplete}"] if incomplete else [])]


def _of_null(pairs: Pairs) -> list[str]:
    key = pairs.null_key()
    failed = pairs.seen.failures(key, null=True) if key else []
    good = [one for stage in looks.STAGES if key for one in pairs.seen.of(key, stage, null=True)]
    found = []
    if failed:
        why = next(iter(failed[0].failed.values()))
        of = len(failed) + len(good)
        found.append(
            f"A against itself failed in {len(failed)} of {of} pairs: {why}; nothing guards the "
            "figures of these."
        )
    if not good:
        found.append("A was not measured against itself: nothing guards these figures.")
    return found


def _flagged(pairs: Pairs) -> list[str]:
    good: list[Pair] = [one for one in pairs.seen.pairs.values() if not one.failed]
    found = []
    by_pair = [[_causes(flags) for flags in one.flags.values()] for one in good]
    for flag, sentence in NOTES.items():
        if n := sum(any(flag in causes for causes in sides) for sides in by_pair):
            found.append(sentence.format(n=n, of=len(good)))
    return found


def _causes(flags: Sequence[str]) -> list[str]:
    """Of a side that grows, unsteady is what follows."""
    return [flag for flag in flags if not (flag == "unsteady" and "growing" in flags)]


def _not_counted(planned: Planned, pairs: Pairs) -> list[str]:
    """Of which cases a side's counted figures are unknown."""
    found = []
    for side in ("A", "B"):
        without = [
            key
            for key in planned.cases
            if pairs.seen.of(key, "first")
            and not ((facts := pairs.seen.facts.get((key, side))) and facts.facts)
        ]
        if without:
            found.append(
                f"Nothing was counted on side {side} of {len(without)} of {len(planned.cases)} "
                f"cases, so that only times are compared there: {without[0]}"
                + (", …" if len(without) > 1 else "")
            )
    return found


def _unverified(planned: Planned, pairs: Pairs) -> list[str]:
    """Of which cases it is unknown whether a side computes what it should."""
    found = []
    for side in ("A", "B"):
        doubts = {
            key: why
            for key in planned.cases
            if (facts := pairs.seen.facts.get((key, side)))
            and (why := facts.problems.get("relative_error") or facts.problems.get("all"))
        }
        if doubts:
            key, why = next(iter(doubts.items()))
            found.append(
                f"What side {side} computes could not be verified in {len(doubts)} of "
                f"{len(planned.cases)} cases: {key}: {why}"
            )
    return found
