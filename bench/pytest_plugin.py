"""The pytest front door: this engine's waits and warm-up, pytest-benchmark's rounds and tables.

Two fixtures, both used once a test as pytest-benchmark's own is:

    def test_conv1(bench_case):
        bench_case("convnet/conv1", mode="training", batch=8)

    def test_mine(bench_callable):
        bench_callable(my_function, my_tensor, on="cuda:0")

pytest-benchmark prints, stores and compares the latency: one call, the device idle before and
after.  All else (its tables, --benchmark-compare, --benchmark-json, histograms) is as its users
know it.  A second table and `extra_info` have percentiles, peak memory and the error against
float64.  Without pytest-benchmark, or under --benchmark-disable, the work is done once.

Loaded by every pytest where this package is installed, so torch is imported in the fixtures only,
and `bench` stays a name of the user's: `convnet_bench` loads this module.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bench import start

if TYPE_CHECKING:
    from bench.core.records import Case
    from bench.fixtures.extras import Extra
    from bench.fixtures.measuring import Found
    from bench.worker.device.device import Device

MARK = "bench_slowdown"
MARK_HELP = (
    f"{MARK}(allowed=1.05): fail if the test became slower than its saved baseline by more than "
    "this ratio, by the rule of `bench check`."
)

Bench = Callable[..., Any]
FOUND = pytest.StashKey[list[tuple[str, dict[str, object]]]]()  # tests and their figures
MARKED = pytest.StashKey[int]()  # number of collected tests with the mark


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
    config.addinivalue_line("markers", MARK_HELP)
    config.stash[FOUND] = []
    present = plugins.hasplugin("benchmark") or plugins.hasplugin("pytest_benchmark.plugin")
    plugins.register(WithBenchmark() if present else WithoutBenchmark(), "bench-fixtures")


class WithBenchmark:
    """The fixtures where pytest-benchmark is loaded."""

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Count the tests whose slowdown is decided: each is decided for all of them."""
        config.stash[MARKED] = sum(one.get_closest_marker(MARK) is not None for one in items)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the figures that pytest-benchmark's table has no column for."""
        found = terminalreporter.config.stash[FOUND]
        if not found or terminalreporter.config.getoption("benchmark_quiet", False):
            return
        with start.own_names():
            from bench.fixtures import table
        if text := table.lines(found):
            terminalreporter.write_line("")
            terminalreporter.write_line("bench: percentiles, memory and results")
            for line in text:
                terminalreporter.write_line(line)

    @pytest.fixture
    def bench_case(self, benchmark: Any, request: pytest.FixtureRequest) -> Bench:
        """Measure a case: a subject and its settings by their axes' names; gives its output."""
        return _case_bench(benchmark, request)

    @pytest.fixture
    def bench_callable(self, benchmark: Any, request: pytest.FixtureRequest) -> Bench:
        """Measure `function(*args, **kwargs)`; gives its result.

        on: the device to wait for; None = that of the tensors that it is given or uses.
        """
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
    def bench_case(
        subject: str = "convnet",
        *,
        max_latency_s: float | None = None,
        max_peak_bytes: float | None = None,
        check: bool = True,
        **settings: object,
    ) -> Any:
        with start.own_names():
            from bench.fixtures import extras, measuring, own_batch
            from bench.fixtures.limits import Limits
            from bench.worker.device.device import open_device
            from bench.worker.jobs.prepare import make_step
            from bench.worker.model import growth
            from bench.worker.model.build import prepare

        limits = Limits(latency_s=max_latency_s, peak_bytes=max_peak_bytes)
        case = make_case(subject, settings)
        device = open_device(case.device)
        with _settings(case), _random_state():
            prepared = prepare(case)
            case = own_batch.of_inputs(case, prepared, asked="batch" in settings)
            step = make_step(prepared, prepared.module, case, device.type)
            info = {"case_id": case.case_id, **case.as_dict()}
            known = {name: value for name, value in info.items() if value is not None}
            test = measuring.UsedFixture(
                benchmark,
                request.node,
                device,
                limits,
                subject,
                known,
                _accelerators(device),
                partial(_warn, request),
                check=lambda: _refuse(prepared.iterators.used_up()),
                sizes=lambda: growth.sizes(prepared.module),
            )
            figures = measuring.run(
                test, step, lambda: extras.of_case(case, device, check=check), _marked(request)
            )
        _keep(request, figures)
        return step.output

    return bench_case


def _callable_bench(benchmark: Any | None, request: pytest.FixtureRequest) -> Bench:
    def bench_callable(
        function: Callable[..., Any],
        /,
        *args: Any,
        on: str | None = None,
        max_latency_s: float | None = None,
        max_peak_bytes: float | None = None,
        **kwargs: Any,
    ) -> Any:
        with start.own_names():
            from bench.fixtures import callables, extras, measuring
            from bench.fixtures.limits import Limits

        limits = Limits(latency_s=max_latency_s, peak_bytes=max_peak_bytes)
        opened = callables.opened(function, args, kwargs, on)
        step, device = opened.step, opened.device
        known: dict[str, object] = {"device": device.name}
        test = measuring.UsedFixture(
            benchmark,
            request.node,
            device,
            limits,
            opened.name,
            known,
            _accelerators(device),
            partial(_warn, request),
            check=opened.check,
        )

        def find() -> "Extra":
            step.output = None  # the last output would count as memory of this call
            step.prepare(1)
            return extras.of_callable(function, args, kwargs, step, device)

        _keep(request, measuring.run(test, step, find, _marked(request)))
        return step.output

    return bench_callable


def _warn(request: pytest.FixtureRequest, doubt: str) -> None:
    """Tell a doubt about the figures of a test as a warning of pytest."""
    request.node.warn(BenchWarning(doubt))


def _refuse(why: str | None) -> None:
    if why:
        raise BenchCaseError(why)


def _accelerators(device: "Device") -> dict[str, str]:
    """Return the device with the name that its driver reports; nothing for a CPU."""
    import torch

    if device.type != "cuda":
        return {} if device.type == "cpu" else {device.name: device.type}
    return {device.name: torch.cuda.get_device_name(device.name)}


def _marked(request: pytest.FixtureRequest) -> int:
    """Return the number of tests of this pytest whose slowdown is decided."""
    return max(1, request.config.stash.get(MARKED, 1))


def _keep(request: pytest.FixtureRequest, found: "Found") -> None:
    """Keep the figures for the table, and fail the test if there is a problem."""
    if found.figures:
        request.config.stash[FOUND].append((request.node.name, found.figures))
    if found.problems:
        pytest.fail("\n".join(found.problems), pytrace=False)


def make_case(subject: str, settings: dict[str, object]) -> "Case":
    """Return a case from settings by axis name.  Raises BenchCaseError, axes.AxisError."""
    with start.own_names():
        from bench.core.axes import AXES, BY_NAME, MAX_BATCH
        from bench.core.records import Case
        from bench.plan.expand import SHIPPED_INPUT

    unknown = sorted(set(settings) - set(BY_NAME))
    if unknown:
        raise BenchCaseError(f"{unknown[0]!r} is not a setting; choose from {', '.join(BY_NAME)}")
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
    """Apply the case's settings inside the block, and restore those of the test's process."""
    with start.own_names():
        from bench.worker.checks import state
        from bench.worker.device import settings

    import torch

    with state.switches_kept():
        if torch.get_default_device().type != "cpu":
            torch.set_default_device(None)  # a case is built on the CPU, and moved
        settings.apply(case.as_dict())
        yield


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    """Restore the random state of torch, Python and numpy after the block."""
    import torch

    from bench.worker.model import random_state

    # A driver that nobody has initialised has no state, and asking would initialise it.
    with random_state.kept("cuda" if torch.cuda.is_initialized() else "cpu"):
        yield
