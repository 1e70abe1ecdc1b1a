"""The difference of two profiles, part by part, with the noise of each part.

Parts are scaled so that those of a side add up to its step without the profiler.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.results.profile_parts import PartTime, Round, StepParts
from bench.stats.intervals import LEVEL, t_quantile

BETWEEN, IDLE = "(between operators)", "(device idle)"  # as bench.worker.profiler.parts has them
# The profiler records an event in about a microsecond.  A larger difference between a profiled step
# and a plain one has other reasons, such as other work, and counts for all parts alike.
MOST_EVENT_S = 3e-6
LEAST_ROUNDS = 3  # for an interval
# Equal code differs by less in a part: from process to process, addresses and caches differ.
LEAST_SHARE = 0.02  # of the step
APART = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One part of the difference.  Seconds a step; `layer` is the name in B, else that in A."""

    layer: str
    phase: str
    operator: str
    within: str
    calls_a: int  # 0 if the side has no such part
    calls_b: int
    a_s: float
    b_s: float
    low_s: float | None  # of the 95 % interval of the difference; None with too few rounds
    high_s: float | None
    steady_calls: bool  # all rounds of a side have the same number of calls
    beyond: bool = False  # the difference is larger than the noise of all parts explains
    kernels_a: Mapping[str, Sequence[float]] = field(default_factory=dict)
    kernels_b: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def difference_s(self) -> float:
        return self.b_s - self.a_s

    @property
    def likely(self) -> bool:
        """Return whether the interval of this part alone leaves out 0."""
        return self.low_s is not None and self.high_s is not None and self.low_s * self.high_s > 0

    @property
    def counted(self) -> bool:
        """Return whether the number of calls differs, which is exact."""
        return self.steady_calls and self.calls_a != self.calls_b


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The step of both sides without the profiler.  Seconds."""

    a_s: float
    b_s: float
    low_s: float | None
    high_s: float | None

    @property
    def difference_s(self) -> float:
        return self.b_s - self.a_s

    @property
    def beyond(self) -> bool:
        """Return whether the interval of the difference leaves out 0."""
        return self.low_s is not None and self.high_s is not None and self.low_s * self.high_s > 0


Key = tuple[str, str, str]


def whole(a: StepParts, b: StepParts) -> Whole:
    """Return the steps without the profiler: medians over the rounds, paired by round."""
    times = [
        (one.unprofiled_s, other.unprofiled_s)
        for one, other in zip(a.rounds, b.rounds, strict=False)
    ]
    left, right = (statistics.median(pair[side] for pair in times) for side in (0, 1))
    low, high = _interval([other - one for one, other in times])
    return Whole(a_s=left, b_s=right, low_s=low, high_s=high)


def differences(a: StepParts, b: StepParts) -> list[Difference]:
    """Return the difference of each part.  a: with the names of B (`align.renamed`)."""
    on_device = a.on_device and b.on_device
    count = min(len(a.rounds), len(b.rounds))
    event_s = _event_s((*a.rounds[:count], *b.rounds[:count])) if not on_device else 0.0
    left = [_scaled(one, event_s, on_device=on_device) for one in a.rounds[:count]]
    right = [_scaled(one, event_s, on_device=on_device) for one in b.rounds[:count]]
    wholes = whole(a, b)
    keys = dict.fromkeys(key for side in (*right, *left) for key in side)
    least_s = LEAST_SHARE * wholes.a_s
    tests = sum(_mean_s(key, left) >= least_s or _mean_s(key, right) >= least_s for key in keys)
    share = (1 - LEVEL) / max(1, tests)
    every = [_difference(key, left, right, least_s=least_s, share=share) for key in keys]
    return _adding_up(every, wholes, on_device=on_device)


def _mean_s(key: Key, side: Sequence[Mapping[Key, tuple[PartTime, float]]]) -> float:
    return math.fsum(one[key][1] for one in side if key in one) / len(side)


def _adding_up(every: Sequence[Difference], wholes: Whole, *, on_device: bool) -> list[Difference]:
    """Return the parts such that those of each side add up to its step, as medians do not.

    on_device: idle times alone are scaled, where they leave room for it.
    """
    left, right = (
        _factors(every, name, step_s, on_device=on_device)
        for name, step_s in (("a_s", wholes.a_s), ("b_s", wholes.b_s))
    )
    return [
        replace(
            one, a_s=one.a_s * left[one.operator == IDLE], b_s=one.b_s * right[one.operator == IDLE]
        )
        for one in every
    ]


def _factors(
    every: Sequence[Difference], name: str, step_s: float, *, on_device: bool
) -> tuple[float, float]:
    """Return the factor of work and the one of idle time that make the parts of a side its step."""
    busy_s, idle_s = (
        math.fsum(getattr(one, name) for one in every if (one.operator == IDLE) == idle)
        for idle in (False, True)
    )
    if on_device and idle_s > 0 and step_s > busy_s:
        return 1.0, (step_s - busy_s) / idle_s
    factor = step_s / (busy_s + idle_s) if busy_s + idle_s else 1.0
    return factor, factor


def _event_s(rounds: Sequence[Round]) -> float:
    """Return the seconds that recording one event takes, at most MOST_EVENT_S."""
    costs = [
        (one.profiled_s - one.unprofiled_s) / events
        for one in rounds
        if (events := sum(part.events for part in one.parts))
    ]
    return min(MOST_EVENT_S, max(0.0, statistics.median(costs))) if costs else 0.0


def _scaled(one: Round, event_s: float, *, on_device: bool) -> dict[Key, tuple[PartTime, float]]:
    """Return the parts with their seconds without the profiler; together they are the step."""
    if on_device:
        times = {_key(part): (part, part.device_s or 0.0) for part in one.parts}
        busy_s = math.fsum(time_s for key, (_, time_s) in times.items() if key[2] != IDLE)
        idle_s = math.fsum(time_s for key, (_, time_s) in times.items() if key[2] == IDLE)
        if idle_s > 0 and one.unprofiled_s > busy_s:  # the profiler slows the host, not the device
            factor = (one.unprofiled_s - busy_s) / idle_s
            return {
                key: (part, time_s * (factor if key[2] == IDLE else 1.0))
                for key, (part, time_s) in times.items()
            }
    else:
        times = {
            _key(part): (part, max(0.0, part.host_s - event_s * part.events)) for part in one.parts
        }
    total_s = math.fsum(time_s for _, time_s in times.values())
    factor = one.unprofiled_s / total_s if total_s else 1.0
    return {key: (part, time_s * factor) for key, (part, time_s) in times.items()}


def _key(part: PartTime) -> Key:
    return part.layer, part.phase, part.operator


_NONE = PartTime(layer="", phase="", operator="")


def _difference(
    key: Key,
    left: Sequence[Mapping[Key, tuple[PartTime, float]]],
    right: Sequence[Mapping[Key, tuple[PartTime, float]]],
    *,
    least_s: float,
    share: float,
) -> Difference:
    """Return the difference of one part.

    least_s: a smaller difference is never beyond the noise.
    share:   of the cases in which noise alone may pass for a difference of this part.
    """
    a, b = ([one.get(key, (_NONE, 0.0)) for one in side] for side in (left, right))
    calls_a, calls_b = ([part.calls for part, _ in side] for side in (a, b))
    values = [after - before for (_, before), (_, after) in zip(a, b, strict=True)]
    low, high = _interval(values)
    least, most = _interval(values, share)
    beyond = least is not None and most is not None and least * most > 0
    every = [part for part, _ in (*b, *a) if part is not _NONE]
    return Difference(
        layer=key[0],
        phase=key[1],
        operator=key[2],
        within=next((part.within for part in every if part.within), ""),
        calls_a=statistics.median_low(calls_a),
        calls_b=statistics.median_low(calls_b),
        a_s=statistics.median(time_s for _, time_s in a),
        b_s=statistics.median(time_s for _, time_s in b),
        low_s=low,
        high_s=high,
        beyond=(beyond or _apart(_least_s(a), _least_s(b)))
        and abs(math.fsum(values) / len(values)) >= least_s,
        steady_calls=len({*calls_a}) == 1 == len({*calls_b}),
        kernels_a=a[0][0].kernels,
        kernels_b=b[0][0].kernels,
    )


def _least_s(side: Sequence[tuple[PartTime, float]]) -> list[float]:
    """Return the time of the fastest step of each round, which other work disturbed least.

    Empty if it is unknown; a part that a side lacks takes no time.
    """
    least = [0.0 if part is _NONE else part.least_s for part, _ in side]
    return [one for one in least if one is not None] if None not in least else []


def _apart(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether each round of one side takes APART times as long as every one of the other.

    Few rounds have wide intervals, also where no noise could explain the difference.
    a, b: the fastest step of each round.
    """
    if min(len(a), len(b)) < LEAST_ROUNDS:
        return False
    return min(b) > APART * max(a) or min(a) > APART * max(b)


def _interval(
    values: Sequence[float], share: float = 1 - LEVEL
) -> tuple[float | None, float | None]:
    """Return Student's interval of the mean, which leaves out the truth in `share` of the cases."""
    if len(values) < LEAST_ROUNDS:
        return None, None
    mean = math.fsum(values) / len(values)
    quantile = t_quantile(len(values) - 1, 1 - share)
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half
