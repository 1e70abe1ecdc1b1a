"""The verdicts of `bench selftest`: pure functions of figures, each of which can fail."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.core import units

if TYPE_CHECKING:
    from bench.stats.ratios import Estimate

Verdict = Literal["ok", "FAILED", "skipped", "noted"]

EXACT = 0.01  # of durations that a clock makes: a call's own cost is 5 µs of at least 2 ms
# An empty call costs 5 µs here; what costs more than this could not time 2 ms within EXACT.
FLOOR_S = 20e-6
LOOP = 2.0  # times by which the path of a run and a plain loop, seconds apart, may differ
RIGHT = 1e-5  # relative error of one float32 product of 512 terms: some 1e-7, never this
LIMIT_S, GRACE_S = 2.0, 5.0  # of an endless loop; of ending it on a machine that is busy
BUSY_SHARE = 0.1  # of one processor, by others: then a case that is flagged says the truth
# Two products in a row find their weights in the cache, and the cost of a call counts once.
TWICE = 0.03
SURE = 0.999  # of the intervals that decide: one false alarm in a thousand
# Half-width, as a log, of the interval that decides: beyond it 1 and 2 look alike, and what holds
# nearly anything proves nothing.
TELLS_NOTHING = 0.5
# Of the queue of bench.worker.selftest.devices: launch, work and waking up; launch and work.
QUEUE_LATENCY_S, QUEUE_DEVICE_S = 0.00111, 0.00101
MISSING = 50.0  # times by which a launch is shorter than launch and work: 111 by construction
LAUNCH = 10.0  # the same on an accelerator, where launching costs what it costs
EVENTS = 0.05  # between an event's time and the host's, over 20 ms and more of work

ALLOCATED_BYTES = 64 * 2**20  # bench.worker.selftest.devices
BUSY = "machine busy"
Times = Mapping[int, float]  # seconds by replicate


@dataclass(frozen=True, slots=True)
class Result:
    """What a check saw, and what that says.  why: of what is skipped."""

    measured: str
    verdict: Verdict
    why: str = ""


def judged(measured: str, passed: bool, *, busy: bool = False) -> Result:
    """On a busy machine a wrong time is no fault of the suite, which has said `contended`."""
    if passed:
        return Result(measured, "ok")
    return Result(measured, "skipped", BUSY) if busy else Result(measured, "FAILED")


def near(value: float, wanted: float, tolerance: float) -> bool:
    """Within a relative tolerance."""
    return abs(value - wanted) <= tolerance * wanted


def duration(wanted_s: float, latency_s: float, pipelined_s: float, *, busy: bool) -> Result:
    """A call of known length, single and in a row.  No other work can make it shorter."""
    times_s = (latency_s, pipelined_s)
    passed = all(near(one, wanted_s, EXACT) for one in times_s)
    longer = min(times_s) >= wanted_s * (1 - EXACT)
    return judged(f"{latency_s:.6f}, {_exact(pipelined_s)}", passed, busy=busy and longer)


def twice(one_s: float, two_s: float, *, busy: bool) -> Result:
    """Twice the busy-wait."""
    return judged(f"×{two_s / one_s:.4f}", near(two_s / one_s, 2, EXACT), busy=busy)


def twice_the_work(one: Times, two: Times) -> Result:
    """Twice the products, in pairs: the interval of their ratio has to come near 2."""
    return _in_pairs(one, two, wanted=2.0, tolerance=TWICE)


def identical(one: Times, other: Times) -> Result:
    """The same code in pairs: the interval of their ratio has to hold 1."""
    return _in_pairs(one, other, wanted=1.0, tolerance=0.0)


def _in_pairs(base: Times, value: Times, *, wanted: float, tolerance: float) -> Result:
    found = _ratio(base, value)
    shown = found.interval()
    interval = found.interval(SURE)
    if shown is None or interval is None:
        return Result("no two pairs", "FAILED")
    measured = f"×{found.ratio:.3f} ({shown[0]:.3f}–{shown[1]:.3f})"
    low, high = interval
    if math.log(high / low) / 2 > TELLS_NOTHING:
        return Result(measured, "skipped", "too noisy")
    return judged(measured, low <= wanted * (1 + tolerance) and high >= wanted * (1 - tolerance))


def _ratio(base: Times, value: Times) -> "Estimate":
    """value / base, by a t on the logs of the pairs."""
    from bench.stats.ratios import paired  # scipy, which the first line need not wait for

    found = paired(value, base)
    assert found is not None, "no pair was measured"
    return found


def told_apart(
    base: Times, more: Mapping[float, Times], must: float | None, *, busy: bool
) -> Result:
    """Which of the planted effects the pairs tell from none, at 95 %.

    more: effect (0.02 is 2 % more work) → its times.  must: the effect that has to be told
    apart; None: the line says what this machine can do, and cannot fail.
    """
    found = []
    for effect, times in sorted(more.items()):
        interval = _ratio(base, times).interval()
        if interval is not None and interval[0] > 1:
            found.append(effect)
    measured = ", ".join(plus(effect) for effect in found) or "none of them"
    if must is None:
        return Result(measured, "noted")
    return judged(measured, must in found, busy=busy)


def plus(effect: float) -> str:
    """`0.02` → `+2 %`."""
    return f"+{100 * effect:.0f} %"


def floor(latency_s: float, *, busy: bool) -> Result:
    """What a call costs that does nothing."""
    return judged(units.seconds(latency_s), 0 < latency_s < FLOOR_S, busy=busy)


def counted(wanted: int, found: float | None) -> Result:
    """FLOPs or bytes of known work, to the last one."""
    return judged("unknown" if found is None else f"{found:.0f}", found == wanted)


def rate(flops: float, measured_s: float, loop_s: float, *, busy: bool) -> Result:
    """Of known work, against a loop that knows nothing of this suite's timer."""
    shown = f"{units.count(flops / measured_s, 'FLOP/s')}, ×{loop_s / measured_s:.2f} of it"
    return judged(shown, 1 / LOOP < measured_s / loop_s < LOOP, busy=busy)


def right(error: float | None, invalid: str | None) -> Result:
    """A right result is not called wrong."""
    if invalid is not None:
        return Result(f"invalid: {invalid}", "FAILED")
    if error is None:
        return Result("unknown", "FAILED")
    return judged(f"{error:.1e}", error <= RIGHT)


def ended_as(status: str, reason: str, wanted: str, words: str) -> Result:
    """A case that must not be believed is refused for the right reason, others are measured."""
    if status == wanted and words in reason:
        return Result(status, "ok")
    return Result(_told(status, reason), "FAILED")


def other_result(invalid: str | None) -> Result:
    """A case that computes something else."""
    return judged("invalid" if invalid else "passed for right", bool(invalid))


def hung(status: str, reason: str, wall_s: float) -> Result:
    """An endless loop ends at its limit, and not before."""
    passed = status == "timeout" and LIMIT_S <= wall_s <= LIMIT_S + GRACE_S
    told = status if status == "timeout" else _told(status, reason)
    return judged(f"{told}, {wall_s:.1f} s", passed)


def alone(ratio: float | None, *, contended: bool, busy_share: float) -> Result:
    """Without a neighbour no case is `contended`, unless the machine has other work.

    busy_share: of the busiest processor while the suite did nothing.
    """
    if ratio is None:
        return Result("unknown", "skipped", "the kernel tells no run-queue wait")
    return judged(_waited(ratio, contended), not contended, busy=busy_share >= BUSY_SHARE)


def beside(ratio: float | None, *, contended: bool) -> Result:
    """With one neighbour a processor every case is `contended`."""
    if ratio is None:
        return Result("unknown", "skipped", "the kernel tells no run-queue wait")
    return judged(_waited(ratio, contended), contended)


def queue(latency_s: float, device_s: float, blind_s: float) -> list[Result]:
    """Host and device time of a made-up queue, and that a missing wait would show.

    blind_s: its latency where nothing waits.
    """
    ratio = latency_s / blind_s
    return [
        judged(_exact(latency_s), near(latency_s, QUEUE_LATENCY_S, EXACT)),
        judged(_exact(device_s), near(device_s, QUEUE_DEVICE_S, EXACT)),
        judged(f"×{ratio:.0f}", ratio > MISSING),
    ]


def waits(latency_s: float, launch_s: float) -> Result:
    """Launch and work of an accelerator against the launch alone."""
    ratio = latency_s / launch_s
    return judged(f"×{ratio:.0f} ({units.seconds(latency_s)})", ratio > LAUNCH)


def events(latency_s: float, device_s: float | None) -> Result:
    """The device's clock against the host's."""
    if device_s is None:
        return Result("unknown", "skipped", "its events tell no device time")
    return judged(
        f"{units.seconds(device_s)}, host {units.seconds(latency_s)}",
        near(device_s, latency_s, EVENTS),
    )


def allocated(counted_bytes: float | None) -> Result:
    """An accelerator's own counter."""
    if counted_bytes is None:
        return Result("unknown", "skipped", "the device does not count its memory")
    return counted(ALLOCATED_BYTES, counted_bytes)


def foreign(alone: int | None, beside: int | None) -> Result:
    """Other processes that the driver names, without and with one that was planted."""
    if alone is None or beside is None:
        return Result("unknown", "skipped", "the driver tells nothing of other processes")
    found = beside == alone + 1
    return judged("contended" if found else f"{beside - alone} more processes", found)


def _exact(value_s: float) -> str:
    """More digits than `units` gives: 1 % has to be seen."""
    return f"{value_s:.6f} s"


def _told(status: str, reason: str) -> str:
    return f"{status}: {reason}" if reason else status


def _waited(ratio: float, contended: bool) -> str:
    return f"{'contended' if contended else 'not flagged'} (wait {ratio:.2f})"
