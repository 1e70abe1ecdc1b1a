"""Notes about a whole comparison; each is a sentence."""

from collections.abc import Sequence
from pathlib import Path

from bench.ab.ab_plan import Planned
from bench.ab.pair_journal import Pair
from bench.ab.scheduler import Pairs
from bench.core import units
from bench.core.text import command, number_of
from bench.verdict import looks, paired_test
from bench.verdict.paired_test import Outlook
from bench.verdict.power import MOST_TRIED
from bench.verdict.report import Finding

DISTURBED = "{n} of {of} pairs were disturbed by other work on this machine (contended)."
UNSTEADY = "The times still moved in {n} of {of} pairs (unsteady)."
GROWING = "Each call did more work or left more behind in {n} of {of} pairs (growing)."
NOTES = {"contended": DISTURBED, "unsteady": UNSTEADY, "growing": GROWING}


def notes(
    planned: Planned, pairs: Pairs, history: Sequence[float], incomplete: str | None
) -> list[str]:
    """Return the notes of a comparison.

    history:    values of earlier null cases on this machine.
    incomplete: the reason why the comparison is not complete, or None.
    """
    found = [*_of_null(pairs)]
    least = paired_test.bias(history)
    if least > planned.threshold:
        found.append(
            f"A differed from itself by {least / 2:.1%} in the last comparisons on this machine: "
            f"the threshold is {least:.1%} instead of {planned.threshold:.1%}."
        )
    if planned.thresholds:
        values = ", ".join(map(units.percent, sorted(set(planned.thresholds.values()))))
        own = len(planned.thresholds)
        count = f"{own} of {number_of(len(planned.cases), 'case')}"
        has = "has its" if own == 1 else "have their"
        found.append(f"{count} {has} own threshold: {values}.")
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
            f"The null case (A against A) failed in {len(failed)} of "
            f"{number_of(of, 'pair')}: {why}. False "
            "alarms in these pairs cannot be noticed."
        )
    if not good:
        found.append(
            "The null case (A against A) was not measured: false alarms cannot be noticed."
        )
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
    """Return the flags, without `unsteady` if `growing` explains it."""
    return [flag for flag in flags if not (flag == "unsteady" and "growing" in flags)]


def _not_counted(planned: Planned, pairs: Pairs) -> list[str]:
    """Return notes about cases for which one side has no counted figures."""
    found = []
    for side in ("A", "B"):
        without = [
            key
            for key in planned.cases
            if pairs.seen.of(key, "first")
            and not ((static := pairs.seen.static_metrics.get((key, side))) and static.metrics)
        ]
        if without:
            found.append(
                f"Side {side} has no counted figures for {len(without)} of "
                f"{number_of(len(planned.cases), 'case')}, so only their times are "
                f"compared: {without[0]}" + (", …" if len(without) > 1 else "")
            )
    return found


def _unverified(planned: Planned, pairs: Pairs) -> list[str]:
    """Return notes about cases whose results could not be verified on one side."""
    found = []
    for side in ("A", "B"):
        doubts = {
            key: why
            for key in planned.cases
            if (static := pairs.seen.static_metrics.get((key, side)))
            and (why := static.problems.get("relative_error") or static.problems.get("all"))
        }
        if doubts:
            key, why = next(iter(doubts.items()))
            found.append(
                f"The results of side {side} could not be verified in {len(doubts)} of "
                f"{number_of(len(planned.cases), 'case')}: {key}: {why}"
            )
    return found


def further(findings: Sequence[Finding], directory: Path) -> list[str]:
    """Return a sentence for each kind of INCONCLUSIVE times, with the command that can help."""
    by_outlook: dict[Outlook, list[Finding]] = {}
    for one in findings:
        if one.evidence.outlook is not None and one.verdict == "INCONCLUSIVE":
            by_outlook.setdefault(one.evidence.outlook, []).append(one)
    sentences = []
    resume = command("bench", "ab", "--resume", directory)
    if lacking := by_outlook.get("go on"):
        sentences.append(f"{_times(lacking)} did not get all planned pairs; to resume: {resume}")
    if more := by_outlook.get("more pairs"):
        most = max(one.evidence.pairs_needed or 0 for one in more)
        sentences.append(
            f"{_times(more)} may be decided by more pairs; to add as many as the noisiest one "
            f"needs: {resume} --pairs {most}"
        )
    if ended := by_outlook.get("given up"):
        sentences.append(
            f"{_times(ended)} got no more pairs because a look found a slowdown by the threshold "
            "unlikely; --resume adds no pairs to them, only a new comparison measures them again"
        )
    if noisy := by_outlook.get("too noisy"):
        sentences.append(
            f"{_times(noisy)} cannot be decided on this machine: even --pairs {MOST_TRIED} would "
            "not find twice the threshold; use a quieter machine or a larger --threshold"
        )
    return sentences


def _times(findings: Sequence[Finding]) -> str:
    return number_of(len(findings), "undecided time")
