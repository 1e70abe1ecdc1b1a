"""Make the findings about one case: times, counted figures, or the reason of a failure."""

import dataclasses
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence

from bench.ab.ab_plan import Planned
from bench.ab.pair_journal import BACK_TO_BACK, Pair, PhaseKey, Samples
from bench.ab.scheduler import Pairs
from bench.core.records import Status, whole_phase
from bench.core.text import number_of
from bench.verdict import looks, paired_test
from bench.verdict.exact_metrics import COUNTED, counted_findings
from bench.verdict.report import PIPELINED, TIME, Finding, PairEvidence, Verdict

NOT_REACHED = "not measured: the budget was used up"
# A case with one of these is UNMEASURED: the limit is the machine, not the code.
NOT_TO_BLAME: frozenset[Status] = frozenset({"unsupported", "oom"})


def of_case(
    key: str,
    planned: Planned,
    pairs: Pairs,
    again: Sequence[PhaseKey],
    decisions: Mapping[Hashable, paired_test.Decision],
    not_reached: str = NOT_REACHED,
) -> list[Finding]:
    """Return the findings about a case; a case that failed or never ran has a single one.

    again:       phases that were measured again with fresh pairs.
    not_reached: the note of a case that was not measured.
    """
    seen = pairs.seen
    gated = planned.sides[0].kind == "revision"
    failures, firsts = seen.failures(key), seen.of(key, "first")
    measured = [*firsts, *seen.of(key, "fresh")]
    if wrong := pairs.wrong(key):
        return [Finding(case_id=key, verdict="FAILED", note=_of_sides(wrong, "invalid: {}"))]
    if pairs.given_up(key) or (failures and not measured):
        return [_failed(key, failures, len(measured), gated=gated)]
    if not measured:
        lacking = PairEvidence(outlook="go on")
        return [Finding(case_id=key, verdict="INCONCLUSIVE", note=not_reached, evidence=lacking)]
    found = []
    for phase in dict.fromkeys(phase for one in firsts for phase in one.samples):
        times = _decisive(pairs, key, phase, again)
        found.append(_timed(PhaseKey(key, phase), times, decisions[PhaseKey(key, phase)]))
    if failures:
        found = [_doubted(one, _why(failures, len(measured))) for one in found]
    found += _one_sided(key, measured, gated=gated)
    metrics = {}
    for side in ("A", "B"):
        static = seen.static_metrics.get((key, side))
        metrics[side] = {**(static.metrics if static else {}), **measured[0].metrics.get(side, {})}
    whole = whole_phase(planned.cases[key]["A"].mode)
    return found + counted(key, whole, metrics["A"], metrics["B"], gated=gated)


def _timed(of: PhaseKey, times: Sequence[Samples], decision: paired_test.Decision) -> Finding:
    """Return the finding about a time.  times: samples of the pairs that decided."""
    a_s, b_s = middle_times(times, decision.ratio)
    phase = of.phase.removesuffix(BACK_TO_BACK)
    return Finding(
        case_id=of.key,
        phase=phase,
        figure=TIME if phase == of.phase else PIPELINED,
        base=a_s,
        value=b_s,
        ratio=decision.ratio,
        ratio_low=decision.low,
        ratio_high=decision.high,
        verdict=decision.verdict,
        note=decision.note,
        evidence=PairEvidence(
            pairs=decision.pairs,
            p_adjusted=decision.p_adjusted,
            smallest_effect_ratio=decision.smallest_effect,
            pairs_needed=decision.pairs_needed,
            outlook=decision.outlook,
        ),
    )


def middle_times(pairs: Sequence[Samples], ratio: float | None) -> tuple[float, float]:
    """Return the seconds of A and B in the middle of the pairs, B / A apart.

    The medians of A and of B over all pairs can say the opposite of B / A, which is of the pairs,
    if these are few and noisy.  So the level is the median of √(A·B) over the pairs, and the ratio
    divides it.

    pairs: the samples of A and of B of each.
    ratio: B / A; None if it is unknown, which gives the medians.
    """
    medians = [(statistics.median(a), statistics.median(b)) for a, b in pairs]
    if ratio is None:
        a_s, b_s = (statistics.median(pair[side] for pair in medians) for side in (0, 1))
        return a_s, b_s
    level_s = statistics.median(math.sqrt(a) * math.sqrt(b) for a, b in medians)
    return level_s / math.sqrt(ratio), level_s * math.sqrt(ratio)


def _doubted(one: Finding, why: str) -> Finding:
    """Return the finding about a case that failed in some pairs: at best it is INCONCLUSIVE.

    why: the failures, for the note.
    """
    if one.verdict not in ("SAME", "IMPROVED"):
        return dataclasses.replace(one, note="; ".join(filter(None, (one.note, why))))
    return dataclasses.replace(one, verdict="INCONCLUSIVE", note=why)


def counted(
    case_id: str,
    phase: str,
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    gated: bool,
) -> list[Finding]:
    """Return a finding for each counted figure.

    gated: an increase is REGRESSED; otherwise any difference is DIFFERS.
    """
    base, value = ({one.name: side.get(one.name) for one in COUNTED} for side in (a, b))
    found = []
    for one in counted_findings(case_id, {phase: base}, {phase: value}):
        if one.value is None:
            found.append(dataclasses.replace(one, note="unknown on side B"))
        elif one.verdict == "SAME" or gated:
            found.append(one)
        else:
            found.append(dataclasses.replace(one, verdict="DIFFERS"))
    return found


def _decisive(pairs: Pairs, key: str, phase: str, again: Sequence[PhaseKey]) -> list[Samples]:
    """Return the samples of the pairs that decided, of A and of B."""
    first, fresh = (
        [one.samples[phase] for one in pairs.seen.of(key, stage) if phase in one.samples]
        for stage in looks.STAGES
    )
    enough = PhaseKey(key, phase) in again and len(fresh) >= looks.LEAST_FRESH
    return fresh if enough else first


def _one_sided(key: str, measured: Sequence[Pair], *, gated: bool) -> list[Finding]:
    """Return a finding for each phase that only one side has.

    gated: a phase that B lacks is FAILED; otherwise it is DIFFERS.
    """
    verdicts: dict[str, Verdict] = {"A": "FAILED" if gated else "DIFFERS", "B": "NEW"}
    return [
        Finding(
            case_id=key,
            phase=phase,
            figure="phase",
            verdict=verdict,
            note=f"side {'B' if side == 'A' else 'A'} has no such phase",
        )
        for side, verdict in verdicts.items()
        for phase in dict.fromkeys(phase for one in measured for phase in one.only.get(side, ()))
    ]


def _failed(key: str, failures: Sequence[Pair], measured: int, *, gated: bool) -> Finding:
    """Return the finding about a case that failed.

    gated: a case that fails only on side B is FAILED, whatever its status.
    """
    sides = {side for one in failures for side in one.failed}
    reasons = [why for one in failures for why in one.failed.values()]
    # Memory was too small for both; the side that was started second is random.
    together = all(why.cause == "together" for why in reasons)
    lost = gated and sides == {"B"} and not together
    verdict: Verdict = "FAILED"
    if all(why.status in NOT_TO_BLAME for why in reasons) and not lost:
        verdict = "UNMEASURED"
    return Finding(case_id=key, verdict=verdict, note=_why(failures, measured))


def _why(failures: Sequence[Pair], measured: int) -> str:
    """Return the first reason of each side, and the number of pairs in which it failed."""
    pairs = len(failures) + measured
    whys: dict[str, str] = {}
    for side in ("A", "B"):
        own = [str(one.failed[side]) for one in failures if side in one.failed]
        if own and len(own) < pairs:
            whys[side] = f"failed in {len(own)} of {number_of(pairs, 'pair')}: {own[0]}"
        elif own:
            whys[side] = str(own[0])
    return _of_sides(whys)


def _of_sides(whys: Mapping[str, str], form: str = "{}") -> str:
    if len(whys) > 1 and len(set(whys.values())) == 1:
        return f"both sides: {form.format(next(iter(whys.values())))}"
    return "; ".join(
        f"side {side}{' ' if why.startswith('failed in ') else ': '}{form.format(why)}"
        for side, why in whys.items()
    )
