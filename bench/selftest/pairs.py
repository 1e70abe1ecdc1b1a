"""Work side by side: twice as much, the same again, a little more.

The samples of one process are no independent witnesses, so each piece of work is measured
several times, in turn with the others, and their ratios are judged.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.core import units
from bench.selftest import expectations
from bench.selftest.expectations import Result
from bench.selftest.work import KNOWN, Check, Workbench, spin

SPIN_S, CHAIN = 0.005, 100  # a wait; products in a row
EFFECTS = (0.02, 0.05, 0.10)
MUST = 0.05  # of the busy-wait, which has no noise of its own
# One thread: threads that wait for each other, 100 times a call, tell of a busy machine alone.
PRODUCTS: Mapping[str, Any] = {"input": "128", "batch": 128, "threads": "1"}

Work = tuple[str, Mapping[str, Any]]  # subject and axes


@dataclass(frozen=True, slots=True)
class Pairs:
    """Latencies of works that were measured in turn: seconds by replicate."""

    times_s: Mapping[str, Mapping[int, float]]  # by name
    contended: Mapping[str, int]  # measurements that were, by name

    def busy(self, *names: str) -> bool:
        """Whether other work disturbed most of them."""
        made = sum(len(self.times_s[name]) for name in names)
        return 2 * sum(self.contended[name] for name in names) > made


def products(count: int) -> Work:
    """That many matrix products in a row."""
    return f"{KNOWN}:Products({count}, 128)", PRODUCTS


def measure(
    bench: Workbench,
    works: Mapping[str, Work],
    count: int,
    begin: Callable[[int], None] = lambda _: None,
) -> Pairs:
    """Each of `works` `count` times, every second time backwards: what drifts hits all alike.

    begin: is called before each time with its number, from 0.
    """
    times_s: dict[str, dict[int, float]] = {name: {} for name in works}
    contended = dict.fromkeys(works, 0)
    for replicate in range(count):
        begin(replicate)
        for name in list(works)[:: 1 if replicate % 2 == 0 else -1]:
            subject, axes = works[name]
            seen = bench.timed(subject, **axes)
            times_s[name][replicate] = seen.latency_s
            contended[name] += seen.contended
    return Pairs(times_s, contended)


def twice(bench: Workbench, count: int) -> Check:
    """Products, and twice as many, in forks of one interpreter."""

    def ask() -> list[Result]:
        seen = measure(bench, {"one": products(20), "two": products(40)}, count)
        return [expectations.twice_the_work(seen.times_s["one"], seen.times_s["two"])]

    return Check((("twice the matrix products", f"×2 ± {units.percent(expectations.TWICE)}"),), ask)


def little_more(bench: Workbench, replicates: int, say: Callable[[str], None]) -> Check:
    """A wait and products, the same again, and a little more of each, in fresh interpreters."""
    factors = {"base": 1.0, "again": 1.0} | {
        expectations.plus(effect): 1 + effect for effect in EFFECTS
    }
    waits: dict[str, Work] = {
        f"wait {name}": (spin(SPIN_S * by), {}) for name, by in factors.items()
    }
    chains = {f"products {name}": products(round(CHAIN * by)) for name, by in factors.items()}

    def begin(replicate: int) -> None:
        say(f"replicate {replicate + 1} of {replicates}")
        bench.close()

    def ask() -> list[Result]:
        seen = measure(bench, {**waits, **chains}, replicates, begin)
        return [*_judged(seen, "wait", MUST), *_judged(seen, "products", None)]

    tried = ", ".join(expectations.plus(effect) for effect in EFFECTS)
    same = "×1 in the interval"
    lines = (
        ("busy-wait: the same twice", same),
        (f"busy-wait: {tried}", f"{expectations.plus(MUST)} told apart"),
        ("matrix products: the same twice", same),
        (f"products: {tried}", "what is told apart"),
    )
    return Check(lines, ask)


def _judged(seen: Pairs, work: str, must: float | None) -> Iterator[Result]:
    """Of the identical pair, and of the effects."""
    base = seen.times_s[f"{work} base"]
    more = {effect: seen.times_s[f"{work} {expectations.plus(effect)}"] for effect in EFFECTS}
    yield expectations.identical(base, seen.times_s[f"{work} again"])
    names = (f"{work} base", *(f"{work} {expectations.plus(effect)}" for effect in EFFECTS))
    yield expectations.told_apart(base, more, must, busy=seen.busy(*names))
