"""The pytest front door: this engine's waits and warm-up, pytest-benchmark's rounds and tables.

Two fixtures, both used once a test as pytest-benchmark's own is:

    def test_conv1(bench_case):
        bench_case("convnet/conv1", mode="training", batch=8)

    def test_mine(bench_callable):
        bench_callable(my_function, my_tensor, on="cuda:0")

What pytest-benchmark prints, stores and compares is then latency: one call, the device idle
before and after.  All else (its tables, --benchmark-compare, --benchmark-json, histograms) is
as its users know it.  Without it, or under --benchmark-disable, the work is done once.

Loaded by every pytest where this package is installed, so torch is imported in the fixtures only,
and `bench` stays a name of the user's: `convnet_bench` loads this module.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bench import start

if TYPE_CHECKING:
    from bench.core.protocol import Budget
    from bench.core.records import Case
    from bench.worker.device.device import Device
    from bench.worker.model.step import Step

Bench = Callable[..., Any]


class BenchWarning(pytest.PytestWarning):
    """The figures of a test are in doubt."""


class BenchCaseError(ValueError):
    """A case that cannot be measured inside pytest; the message says what would be right."""


def pytest_configure(config: pytest.Config) -> None:
    """Take part in pytest-benchmark where it is there.

    Its fixture has to be an argument of ours, not asked for while a test runs: by the arguments
    it finds the tests that --benchmark-only and --benchmark-skip choose.
    """
    plugins = config.pluginmanager
    if plugins.hasplugin("bench-fixtures"):
        return  # loaded by its entry point, and by name
    present = plugins.hasplugin("benchmark") or plugins.hasplugin("pytest_benchmark.plugin")
    plugins.register(WithBenchmark() if present else WithoutBenchmark(), "bench-fixtures")


class WithBenchmark:
    """The fixtures where pytest-benchmark is loaded."""

    @pytest.fixture
    def bench_case(self, benchmark: Any, request: pytest.FixtureRequest) -> Bench:
        """Measure a case: a subject and its settings by their axes' names; gives its output."""
        return _case_bench(benchmark, request)

    @pytest.fixture
    def bench_callable(self, benchmark: Any, request: pytest.FixtureRequest) -> Bench:
        """Measure `function(*args, **kwargs)` on the device `on`; gives its result."""
        return _callable_bench(benchmark, request)


class WithoutBenchmark:
    """The fixtures where it is not: the work is done once, nothing is measured."""

    @pytest.fixture
    def bench_case(self, request: pytest.FixtureRequest) -> Bench:
        """Call a case once; gives its output."""
        return _case_bench(None, request)

    @pytest.fixture
    def bench_callable(self, request: pytest.FixtureRequest) -> Bench:
        """Call `function(*args, **kwargs)` once; gives its result."""
        return _callable_bench(None, request)


def _case_bench(benchmark: Any | None, request: pytest.FixtureRequest) -> Bench:
    def bench_case(subject: str = "convnet", **settings: object) -> Any:
        with start.own_names():
            from bench.worker.device.device import open_device
            from bench.worker.jobs.prepare import make_step
            from bench.worker.model.build import prepare

        case = make_case(subject, settings)
        device = open_device(case.device)
        with _settings(case), _random_state():
            prepared = prepare(case)
            step = make_step(prepared, prepared.module, case, device.type)
            info = {"case_id": case.case_id, **case.as_dict()}
            known = {name: value for name, value in info.items() if value is not None}
            _measure(benchmark, step, device, request, known)
        return step.output

    return bench_case


def _callable_bench(benchmark: Any | None, request: pytest.FixtureRequest) -> Bench:
    def bench_callable(
        function: Callable[..., Any], /, *args: Any, on: str = "cpu", **kwargs: Any
    ) -> Any:
        with start.own_names():
            from bench.worker.device.device import open_device

        device = open_device(on)
        step = CallableStep(lambda: function(*args, **kwargs))
        _measure(benchmark, step, device, request, {"device": device.name})
        return step.output

    return bench_callable


class CallableStep:
    """Any callable as a step of one phase."""

    phases = ("forward",)
    whole = "forward"
    restores = False
    need_preparing = False
    cold = False
    doubt: str | None = None
    skipped_steps = 0

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.output: Any = None

    def prepare(self, calls: int) -> int:
        return calls

    def settle(self) -> None:
        pass

    def __call__(self, mark: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        self.output = self._function()


def make_case(subject: str, settings: dict[str, object]) -> "Case":
    """A case from settings by axis name.  Raises BenchCaseError, axes.AxisError."""
    with start.own_names():
        from bench.core.axes import AXES, BY_NAME, MAX_BATCH
        from bench.core.records import Case
        from bench.plan.expand import SHIPPED_INPUT

    unknown = sorted(set(settings) - set(BY_NAME))
    if unknown:
        raise BenchCaseError(f"{unknown[0]!r} is no setting; choose from {', '.join(BY_NAME)}")
    for name in (one.name for one in AXES if one.at_start):  # `bench run` gives each case its own
        if settings.get(name, "off") != "off":
            raise BenchCaseError(f"{name} needs a process of its own: use `bench run --{name}`")
    whole = subject.partition("/")[0]
    values = {"device": "cpu", "input": SHIPPED_INPUT.get(whole, "own"), **settings}
    on_cpu = str(values["device"]) == "cpu"
    fields: dict[str, Any] = {
        name: axis.check(values.get(name, axis.default))
        for name, axis in BY_NAME.items()
        if name != "allocator"
    }
    if fields["batch"] == MAX_BATCH:
        raise BenchCaseError("batch max is found by `bench run --batch max`; give a number")
    fields["batch"] = int(fields["batch"])
    on_cuda = str(values["device"]).startswith("cuda")
    for axis in AXES:
        asked = axis.name in settings and axis.meaning in ("cudnn", "tf32")
        means = axis.means_something(
            mode=str(fields["mode"]), on_cpu=on_cpu, cudnn=on_cuda, tf32=on_cuda
        )
        if axis.name in fields and not means and not asked:
            fields[axis.name] = None  # no such thing there
    return Case(subject=subject, **fields)


@contextlib.contextmanager
def _settings(case: "Case") -> Iterator[None]:
    """The case's settings, and afterwards those of the test's process again."""
    with start.own_names():
        from bench.worker.checks import state
        from bench.worker.device import settings

    with state.switches_kept():
        settings.apply(case.as_dict())
        yield


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    """Afterwards torch, Python and numpy draw on as if nothing had been drawn or seeded here."""
    import torch

    from bench.worker.model import random_state

    # A driver that nobody has initialised has no state, and asking would initialise it.
    with random_state.kept("cuda" if torch.cuda.is_initialized() else "cpu"):
        yield


def _measure(
    benchmark: Any | None,
    step: "Step",
    device: "Device",
    request: pytest.FixtureRequest,
    info: dict[str, object],
) -> None:
    """Warm up, choose rounds and calls, and hand the call and its wait to pytest-benchmark."""
    with start.own_names():
        from bench.worker.timing import call_timing, contention, stopwatch

    def restore() -> None:
        step.prepare(1)
        device.wait()

    def call_and_wait() -> None:
        step()
        device.wait()

    if benchmark is None:
        restore()
        call_and_wait()
        return
    if not benchmark.enabled:
        benchmark.pedantic(call_and_wait, setup=restore)
        return
    budget = _budget(request)
    first_call_s = call_timing.first_call(step, device)
    step.settle()
    steady = call_timing.warm_up(step, device, budget)
    calls = call_timing.calls_for(steady.call_s, budget, stopwatch.clock_resolution_s())
    if step.need_preparing:
        calls = 1  # its setup, outside the timed span, goes with one call a round
    rounds = round(budget.samples_s / (calls * steady.call_s))
    benchmark.extra_info.update(
        info, quantity="latency", first_call_s=first_call_s, settled=steady.settled
    )
    before = contention.snapshot()
    with stopwatch.no_garbage_collection():
        benchmark.pedantic(
            call_and_wait,
            setup=restore if step.need_preparing else None,
            rounds=min(budget.max_samples, max(budget.min_samples, rounds)),
            iterations=calls,
        )
    load = contention.difference(before, contention.snapshot())
    benchmark.extra_info["contention_ratio"] = load.contention_ratio
    for doubt in doubts(settled=steady.settled, contention_ratio=load.contention_ratio):
        request.node.warn(BenchWarning(doubt))


def doubts(*, settled: bool, contention_ratio: float | None) -> list[str]:
    """Why the figures should not be believed yet, in words: other work triples them silently."""
    with start.own_names():
        from bench.worker.timing.contention import CONTENDED_RATIO

    found = []
    if not settled:
        found.append("the times had not settled when the warm-up ended")
    if contention_ratio is not None and contention_ratio >= CONTENDED_RATIO:
        found.append(
            f"other work on this machine: threads waited for a processor during "
            f"{100 * contention_ratio:.0f} % of the time"
        )
    return found


def _budget(request: pytest.FixtureRequest) -> "Budget":
    """As --benchmark-max-time and --benchmark-min-rounds say, or the test's own mark."""
    with start.own_names():
        from bench.core.protocol import Budget

    mark = request.node.get_closest_marker("benchmark")
    own = mark.kwargs if mark else {}
    option = request.config.getoption
    least = int(own.get("min_rounds", option("benchmark_min_rounds")))
    return Budget(
        samples_s=float(own.get("max_time", option("benchmark_max_time"))),
        min_samples=least,
        max_samples=max(least, Budget().max_samples),
    )
