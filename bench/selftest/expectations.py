"""The verdicts of `bench selftest`, as pure functions of figures.  Each of them can fail."""

from dataclasses import dataclass
from typing import Literal

from bench.core import units

Outcome = Literal["ok", "FAILED", "skipped"]

EXACT = 0.01  # tolerance of a busy-wait of 2 ms; the call itself costs 5 µs
# Limit for an empty call, which costs about 5 µs.  With more, 2 ms could not be timed within EXACT.
EMPTY_S = 20e-6
LOOP = 2.0  # largest factor between a run and a plain loop, which are measured seconds apart
RIGHT = 1e-5  # largest relative error of a float32 product of 512 terms; it is about 1e-7
LIMIT_S, GRACE_S = 2.0, 5.0  # timeout of an endless loop; time to end it on a busy machine
BUSY_SHARE = 0.1  # if others use this share of a processor, a case may rightly be contended
LAUNCH = 10.0  # least factor between launch with work and launch alone, on an accelerator
EVENTS = 0.05  # tolerance between the time of events and of the host, for 20 ms of work or more
ALLOCATED_BYTES = 64 * 2**20  # bench.worker.selftest.known_devices

NO_WAIT = "the kernel does not report the wait in the run queue"


@dataclass(frozen=True, slots=True)
class Result:
    """The measured text and the verdict of a check.  why: the reason if it is skipped."""

    measured: str
    verdict: Outcome
    why: str = ""


def skipped(why: str, measured: str = "unknown") -> Result:
    """Return the result of a check that this machine does not allow."""
    return Result(measured, "skipped", why)


def judged(measured: str, passed: bool, *, busy: bool = False) -> Result:
    """Return `ok` or `FAILED`; a failure on a busy machine is `skipped`.

    busy: the suite has flagged the case `contended`, so a wrong time is not its fault.
    """
    if passed:
        return Result(measured, "ok")
    return skipped("machine busy", measured) if busy else Result(measured, "FAILED")


def near(value: float, wanted: float, tolerance: float) -> bool:
    """Return whether a value is within a relative tolerance."""
    return abs(value - wanted) <= tolerance * wanted


def busy_wait(wanted_s: float, latency_s: float, pipelined_s: float, *, busy: bool) -> Result:
    """Check a call of known length, single and back-to-back.

    Other work can only make it longer, so a shorter time always fails.
    """
    times_s = (latency_s, pipelined_s)
    passed = all(near(one, wanted_s, EXACT) for one in times_s)
    longer = min(times_s) >= wanted_s * (1 - EXACT)
    return judged(f"{latency_s:.6f}, {pipelined_s:.6f} s", passed, busy=busy and longer)


def empty_call(latency_s: float, *, busy: bool) -> Result:
    """Check the cost of a call that does nothing."""
    return judged(units.seconds(latency_s), 0 < latency_s < EMPTY_S, busy=busy)


def count(wanted: int, found: float | None) -> Result:
    """Check the FLOPs or bytes of known work, which must be exact."""
    return judged("unknown" if found is None else f"{found:.0f}", found == wanted)


def rate(flops: float, measured_s: float, loop_s: float, *, busy: bool) -> Result:
    """Check the rate of known work against a loop that uses nothing of this suite."""
    shown = f"{units.count(flops / measured_s, 'FLOP/s')}, ×{loop_s / measured_s:.2f} the loop's"
    return judged(shown, 1 / LOOP < measured_s / loop_s < LOOP, busy=busy)


def right_result(error: float | None, invalid: str | None) -> Result:
    """Check that a right result passes.  invalid: the reason why the suite refused it."""
    if invalid is not None:
        return Result(f"invalid: {invalid}", "FAILED")
    if error is None:
        return Result("unknown", "FAILED")
    return judged(f"{error:.1e}", error <= RIGHT)


def wrong_result(invalid: str | None) -> Result:
    """Check that a wrong result is refused."""
    return judged("invalid" if invalid else "accepted as right", bool(invalid))


def ending(status: str, reason: str, wanted: str, words: str = "") -> Result:
    """Check that a case ends with a status, and with these words in its reason."""
    if status == wanted and words in reason:
        return Result(status, "ok")
    return Result(_with_reason(status, reason), "FAILED")


def endless_loop(status: str, reason: str, wall_s: float) -> Result:
    """Check that an endless loop ends at its time limit, and not before."""
    passed = status == "timeout" and LIMIT_S <= wall_s <= LIMIT_S + GRACE_S
    shown = status if status == "timeout" else _with_reason(status, reason)
    return judged(f"{shown}, {wall_s:.1f} s", passed)


def alone(ratio: float | None, *, contended: bool, busy_share: float) -> Result:
    """Check that a case alone is not `contended`, unless the machine has other work.

    ratio:      the share of the time that the case waited for a processor; None: unknown.
    busy_share: the load of the busiest processor while the suite did nothing.
    """
    if ratio is None:
        return skipped(NO_WAIT)
    return judged(_waited(ratio, contended), not contended, busy=busy_share >= BUSY_SHARE)


def beside(ratio: float | None, *, contended: bool) -> Result:
    """Check that a case is `contended` if each processor has another busy process."""
    return skipped(NO_WAIT) if ratio is None else judged(_waited(ratio, contended), contended)


def launch(latency_s: float, launch_s: float) -> Result:
    """Check that a launch on an accelerator is much shorter than launch and work together."""
    ratio = latency_s / launch_s
    return judged(f"×{ratio:.0f} ({units.seconds(latency_s)})", ratio > LAUNCH)


def events(latency_s: float, device_s: float | None) -> Result:
    """Check the device's clock against the host's."""
    if device_s is None:
        return skipped("the device has no events that measure time")
    shown = f"{units.seconds(device_s)}, host {units.seconds(latency_s)}"
    return judged(shown, near(device_s, latency_s, EVENTS))


def device_memory(counted_bytes: float | None, why_not: str | None = None) -> Result:
    """Check the memory counter of an accelerator.  why_not: why it counts nothing."""
    if counted_bytes is None:
        return skipped(why_not or "the device does not count its memory")
    return count(ALLOCATED_BYTES, counted_bytes)


def other_process(alone: bool | None, beside: bool | None) -> Result:
    """Check that the driver reports work of others after the selftest has started some.

    alone, beside: whether it reports any before and after; None: unknown.
    """
    if alone is None or beside is None:
        return skipped("the driver does not tell who uses the device")
    if alone:
        return skipped("others compute on the device already", "contended without it")
    return judged("contended" if beside else "not flagged", beside)


def _with_reason(status: str, reason: str) -> str:
    return f"{status}: {reason}" if reason else status


def _waited(ratio: float, contended: bool) -> str:
    return f"{'contended' if contended else 'not contended'} (wait {ratio:.2f})"
