"""The checks of `bench selftest`, in their order: what is measured, and what it has to be."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.core import units
from bench.host.probed import Probe
from bench.selftest import devices, expectations, pairs, work
from bench.selftest.expectations import Result
from bench.selftest.work import KNOWN, Check, Workbench, single, spin

LINEAR_ROWS, LINEAR_SIZE = 256, 512
LINEAR: tuple[str, dict[str, Any]] = (
    f"torch.nn:Linear({LINEAR_SIZE}, {LINEAR_SIZE}, bias=False)",
    {"input": f"{LINEAR_SIZE}", "batch": LINEAR_ROWS},
)
# A multiply and an add for each weight and row.
LINEAR_FLOPS = 2 * LINEAR_ROWS * LINEAR_SIZE * LINEAR_SIZE
TEMPORARY_BYTES = 2**20
# Beside it the weights (1024 numbers), and input and output (4 × 1024 each), in float32.
PEAK_BYTES = TEMPORARY_BYTES + 4 * (1024 + 2 * 4 * 1024)
CONVOLUTION: tuple[str, dict[str, Any]] = (
    "torch.nn:Conv2d(16, 32, 3)",
    {"input": "16,56,56", "batch": 4},
)
TRIES = 3  # a moment's other work is no fault
COMPILE_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    pairs: int  # in forks of one interpreter
    replicates: int  # fresh interpreters
    compiles: bool  # a module whose compiling takes many seconds


def every(
    bench: Workbench, extent: Extent, found: Probe, say: Callable[[str], None]
) -> Iterator[Check]:
    """All of them.  say: is told of what takes long, between two measurements."""
    yield from _clock(bench)
    yield pairs.twice(bench, extent.pairs)
    yield from _figures(bench)
    yield from _faults(bench)
    yield from _compiled(bench, extent, found)
    yield from _neighbours(bench)
    yield pairs.little_more(bench, extent.replicates, say)
    yield devices.all_([name for name in found.devices if name != "cpu"])


def persistent(ask: Callable[[], Result]) -> Callable[[], Result]:
    """Again where it failed: a fault of the suite is there each time.

    What another guest of the host takes from this one lasts a while, and the kernel here does not
    tell: seen were 75 µs on top of each wait of 2 ms, for some seconds, in one of several tables.
    """

    def tried() -> Result:
        for _ in range(TRIES):
            found = ask()
            if found.verdict != "FAILED":
                break
        return found

    return tried


def _clock(bench: Workbench) -> Iterator[Check]:
    def waited(duration_s: float) -> Result:
        seen = bench.timed(spin(duration_s))
        return expectations.duration(
            duration_s, seen.latency_s, seen.pipelined_s, busy=seen.contended
        )

    def twice() -> Result:
        one, two = bench.timed(spin(0.01)), bench.timed(spin(0.02))
        return expectations.twice(one.latency_s, two.latency_s, busy=one.contended or two.contended)

    def empty() -> Result:
        seen = bench.timed("torch.nn:Identity")
        return expectations.floor(seen.latency_s, busy=seen.contended)

    exact = f"± {units.percent(expectations.EXACT)}"
    yield single(
        "busy-wait of 2 ms, and in a row", f"0.002 s {exact}", persistent(lambda: waited(0.002))
    )
    yield single(
        "busy-wait of 20 ms, and in a row", f"0.02 s {exact}", persistent(lambda: waited(0.02))
    )
    yield single("twice the busy-wait", f"×2 {exact}", persistent(twice))
    yield single("empty call", f"< {units.seconds(expectations.FLOOR_S)}", persistent(empty))


def _figures(bench: Workbench) -> Iterator[Check]:
    def linear() -> list[Result]:
        subject, axes = LINEAR
        seen, facts = bench.timed(subject, **axes), bench.facts(subject, **axes)
        loop_s = work.plain_loop_s(LINEAR_ROWS, LINEAR_SIZE)
        return [
            expectations.counted(LINEAR_FLOPS, facts.facts.get("flops")),
            expectations.rate(LINEAR_FLOPS, seen.pipelined_s, loop_s, busy=seen.contended),
            expectations.right(facts.facts.get("relative_error"), facts.invalid),
        ]

    def peak() -> Result:
        subject = f"{KNOWN}:Temporary({TEMPORARY_BYTES})"
        seen = bench.facts(subject, input="1024", batch=4).facts
        return expectations.counted(PEAK_BYTES, seen.get("peak_bytes"))

    yield Check(
        (
            ("FLOPs of a linear layer", f"{LINEAR_FLOPS}"),
            ("its rate", "as a plain loop"),
            ("its result", f"off by ≤ {expectations.RIGHT:.0e}"),
        ),
        linear,
    )
    yield single("peak memory of known tensors", f"{PEAK_BYTES} B", peak)


def _faults(bench: Workbench) -> Iterator[Check]:
    def other(name: str, **axes: Any) -> Result:
        return expectations.other_result(bench.facts(f"{KNOWN}:{name}", batch=2, **axes).invalid)

    def hung() -> Result:
        entry = bench.ask("measure", f"{KNOWN}:Loops", limit_s=expectations.LIMIT_S)
        return expectations.hung(*work.ending(entry), entry.wall_s)

    yield single(
        "other result in channels_last",
        "invalid",
        lambda: other("OtherInChannelsLast", input="3,8,8", memory_format="channels_last"),
    )
    yield single(
        "other result under autocast",
        "invalid",
        lambda: other("OtherUnderAutocast", amp="bfloat16"),
    )
    yield _ends(bench, "output that is not finite", "NotFinite", "invalid", "not finite")
    yield _ends(bench, "threads turned by the subject", "TurnsThreads", "invalid", "threads is")
    yield _ends(bench, "segmentation fault", "Crashes", "crash", "SIGSEGV")
    yield single("endless loop", f"timeout after {expectations.LIMIT_S:.0f} s", hung)
    yield _ends(bench, "the case after these", "Temporary(4096)", "measured", input="1024")


def _ends(
    bench: Workbench, check: str, name: str, wanted: str, words: str = "", **axes: Any
) -> Check:
    """A known subject's case ends with that status, and these words in its reason."""

    def ask() -> Result:
        entry = bench.ask("measure", f"{KNOWN}:{name}", **axes)
        return expectations.ended_as(*work.ending(entry), wanted, words)

    return single(check, wanted, ask)


def _compiled(bench: Workbench, extent: Extent, found: Probe) -> Iterator[Check]:
    name = "eager code under torch.compile"
    if not found.facts.get("compiler"):
        yield single(name, "invalid", lambda: Result("", "skipped", "no C++ compiler"))
        return
    axes: dict[str, Any] = {"compile": "default", "limit_s": COMPILE_LIMIT_S}
    yield _ends(bench, name, "NeverCompiled", "invalid", "nothing was compiled", **axes)
    if extent.compiles:
        yield _ends(bench, "code that compiles", "Well", "measured", **axes)


def _neighbours(bench: Workbench) -> Iterator[Check]:
    subject, axes = CONVOLUTION

    def alone() -> Result:
        for _ in range(TRIES):
            before = work.busy_share()
            seen = bench.timed(subject, **axes)
            share = max(before, work.busy_share())
            if not seen.contended:
                break
        return expectations.alone(seen.contention_ratio, contended=seen.contended, busy_share=share)

    def beside() -> Result:
        with work.neighbours():
            seen = bench.timed(subject, **axes)
        return expectations.beside(seen.contention_ratio, contended=seen.contended)

    yield single("convolution alone", "not flagged", alone)
    yield single("beside a busy process a core", "contended", beside)
