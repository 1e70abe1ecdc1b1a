"""Verdicts of `bench selftest`: pure functions of figures, each of which can fail."""

from dataclasses import dataclass
from typing import Literal

from bench.core import units

Verdict = Literal["ok", "FAILED", "skipped"]

EXACT = 0.01  # of a busy-wait: a call's own cost is 5 µs of 2 ms
# An empty call costs 5 µs here; what costs more than this could not time 2 ms within EXACT.
EMPTY_S = 20e-6
LOOP = 2.0  # times by which the path of a run and a plain loop, seconds apart, may differ
RIGHT = 1e-5  # relative error of one float32 product of 512 terms: some 1e-7, never this
LIMIT_S, GRACE_S = 2.0, 5.0  # of an endless loop; of ending it on a machine that is busy
BUSY_SHARE = 0.1  # of one processor, by others: then a case that is flagged says the truth
LAUNCH = 10.0  # times by which a launch on an accelerator is shorter than launch and work
EVENTS = 0.05  # between an event's time and the host's, over 20 ms and more of work
ALLOCATED_BYTES = 64 * 2**20  # bench.worker.selftest.devices

NO_WAIT = "the kernel tells no run-queue wait"


@dataclass(frozen=True, slots=True)
class Result:
    """What a check saw, and its verdict.  why: of what is skipped."""

    measured: str
    verdict: Verdict
    why: str = ""


def skipped(why: str, measured: str = "unknown") -> Result:
    """This machine does not tell."""
    return Result(measured, "skipped", why)


def judged(measured: str, passed: bool, *, busy: bool = False) -> Result:
    """On a busy machine a wrong time is no fault of the suite, which has said `contended`."""
    if passed:
        return Result(measured, "ok")
    return skipped("machine busy", measured) if busy else Result(measured, "FAILED")


def near(value: float, wanted: float, tolerance: float) -> bool:
    """Within a relative tolerance."""
    return abs(value - wanted) <= tolerance * wanted


def busy_wait(wanted_s: float, latency_s: float, pipelined_s: float, *, busy: bool) -> Result:
    """A call of known length, single and in a row.  Other work never makes it shorter."""
    times_s = (latency_s, pipelined_s)
    passed = all(near(one, wanted_s, EXACT) for one in times_s)
    longer = min(times_s) >= wanted_s * (1 - EXACT)
    return judged(f"{latency_s:.6f}, {pipelined_s:.6f} s", passed, busy=busy and longer)


def empty_call(latency_s: float, *, busy: bool) -> Result:
    """The cost of a call that does nothing."""
    return judged(units.seconds(latency_s), 0 < latency_s < EMPTY_S, busy=busy)


def count(wanted: int, found: float | None) -> Result:
    """FLOPs or bytes of known work, to the last one."""
    return judged("unknown" if found is None else f"{found:.0f}", found == wanted)


def rate(flops: float, measured_s: float, loop_s: float, *, busy: bool) -> Result:
    """Of known work, against a loop that uses nothing of this suite."""
    shown = f"{units.count(flops / measured_s, 'FLOP/s')}, ×{loop_s / measured_s:.2f} of it"
    return judged(shown, 1 / LOOP < measured_s / loop_s < LOOP, busy=busy)


def right_result(error: float | None, invalid: str | None) -> Result:
    """A right result passes.  invalid: the reason why the suite refused it."""
    if invalid is not None:
        return Result(f"invalid: {invalid}", "FAILED")
    if error is None:
        return Result("unknown", "FAILED")
    return judged(f"{error:.1e}", error <= RIGHT)


def wrong_result(invalid: str | None) -> Result:
    """A wrong result is refused."""
    return judged("invalid" if invalid else "passed for right", bool(invalid))


def ending(status: str, reason: str, wanted: str, words: str = "") -> Result:
    """A case ends with the wanted status, and these words in its reason."""
    if status == wanted and words in reason:
        return Result(status, "ok")
    return Result(_told(status, reason), "FAILED")


def endless_loop(status: str, reason: str, wall_s: float) -> Result:
    """It ends at its limit, and not before."""
    passed = status == "timeout" and LIMIT_S <= wall_s <= LIMIT_S + GRACE_S
    told = status if status == "timeout" else _told(status, reason)
    return judged(f"{told}, {wall_s:.1f} s", passed)


def alone(ratio: float | None, *, contended: bool, busy_share: float) -> Result:
    """Without a neighbour no case is `contended`, unless the machine has other work.

    busy_share: of the busiest processor while the suite did nothing.
    """
    if ratio is None:
        return skipped(NO_WAIT)
    return judged(_waited(ratio, contended), not contended, busy=busy_share >= BUSY_SHARE)


def beside(ratio: float | None, *, contended: bool) -> Result:
    """With one neighbour a processor every case is `contended`."""
    return skipped(NO_WAIT) if ratio is None else judged(_waited(ratio, contended), contended)


def launch(latency_s: float, launch_s: float) -> Result:
    """Launch and work of an accelerator against the launch alone."""
    ratio = latency_s / launch_s
    return judged(f"×{ratio:.0f} ({units.seconds(latency_s)})", ratio > LAUNCH)


def events(latency_s: float, device_s: float | None) -> Result:
    """The device's clock against the host's."""
    if device_s is None:
        return skipped("its events tell no device time")
    shown = f"{units.seconds(device_s)}, host {units.seconds(latency_s)}"
    return judged(shown, near(device_s, latency_s, EVENTS))


def device_memory(counted_bytes: float | None, why_not: str | None = None) -> Result:
    """An accelerator's own counter.  why_not: why it counts nothing."""
    if counted_bytes is None:
        return skipped(why_not or "the device does not count its memory")
    return count(ALLOCATED_BYTES, counted_bytes)


def other_process(alone: bool | None, beside: bool | None) -> Result:
    """Whether the driver told of others on the device, without and with one that was planted."""
    if alone is None or beside is None:
        return skipped("the driver does not tell who uses the device")
    if alone:
        return skipped("others compute on the device already", "contended without it")
    return judged("contended" if beside else "not flagged", beside)


def _told(status: str, reason: str) -> str:
    return f"{status}: {reason}" if reason else status


def _waited(ratio: float, contended: bool) -> str:
    return f"{'contended' if contended else 'not flagged'} (wait {ratio:.2f})"
