"""The pytest front door, seen as its users see it: in pytests of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.fixtures.measuring import doubts
from bench.pytest_plugin import BenchCaseError, make_case
from tests.support.paths import ROOT

pytest_plugins = ["pytester"]

OURS = ("-p", "bench.pytest_plugin", "-p", "no:cacheprovider")
BOTH = ("-p", "pytest_benchmark.plugin", *OURS, "--benchmark-max-time=0.001")

CASES = """
import pytest
import torch

@pytest.mark.parametrize("mode", ["inference", "training"])
def test_case(bench_case, mode):
    torch.set_num_threads(2)
    output = bench_case("torch.nn:Linear(4, 3)", input="4", batch=2, mode=mode, threads=1)
    assert output.shape == (2, 3)
    assert torch.get_num_threads() == 2

def test_writes_to_its_input(bench_case):
    bench_case("torch.nn:ReLU(inplace=True)", input="16", batch=2)
"""

COUNTING = """
calls = []

def work(x, *, more):
    calls.append(x)
    return x + more

def test_mine(bench_callable):
    assert bench_callable(work, 1, more=2) == 3

def test_afterwards():
    assert len(calls) {condition}, len(calls)
"""


@pytest.fixture
def runner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Loads the plugins that are named and no others, from this working tree."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def stored(folder: Path) -> dict[str, Any]:
    """Return the entries of --benchmark-json by test."""
    entries = json.loads((folder / "out.json").read_text())["benchmarks"]
    return {entry["name"]: entry for entry in entries}


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_cases_are_in_pytest_benchmarks_table_and_json(runner: pytest.Pytester) -> None:
    runner.makepyfile(CASES)
    result = runner.runpytest_subprocess(*BOTH, "--benchmark-json=out.json")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*Name*Rounds*Iterations*", "test_case*"])
    found = stored(runner.path)
    for mode in ("inference", "training"):
        info = found[f"test_case[{mode}]"]["extra_info"]
        assert info["case_id"] == (
            f"torch.nn:Linear(4, 3):{mode}:b2:4:cpu:float32:amp=off:contiguous:compile=off:t=1"
        )
        assert (info["quantity"], info["mode"], info["batch"]) == ("latency", mode, 2)
        assert info["first_call_s"] > 0
        assert info["settled"] in (True, False)
        assert "contention_ratio" in info
    assert found["test_case[inference]"]["stats"]["iterations"] > 10
    assert found["test_writes_to_its_input"]["stats"]["iterations"] == 1


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_any_callable_is_measured_and_a_stored_run_can_be_compared_with(
    runner: pytest.Pytester,
) -> None:
    runner.makepyfile(COUNTING.format(condition="> 100"))
    result = runner.runpytest_subprocess(*BOTH, "--benchmark-autosave", "--benchmark-min-rounds=7")
    result.assert_outcomes(passed=2)
    result = runner.runpytest_subprocess(
        *BOTH, "--benchmark-compare", "--benchmark-json=out.json", "--benchmark-min-rounds=7"
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(["test_mine (0001_*", "test_mine (NOW)*"])
    assert stored(runner.path)["test_mine"]["stats"]["rounds"] == 7


@pytest.mark.slow
def test_under_benchmark_disable_the_work_is_done_once(runner: pytest.Pytester) -> None:
    runner.makepyfile(test_one=COUNTING.format(condition="== 1"), test_two=CASES)
    runner.runpytest_subprocess(*BOTH, "--benchmark-disable").assert_outcomes(passed=5)


@pytest.mark.slow
def test_without_pytest_benchmark_the_work_is_done_once(runner: pytest.Pytester) -> None:
    runner.makepyfile(test_one=COUNTING.format(condition="== 1"), test_two=CASES)
    runner.runpytest_subprocess(*OURS).assert_outcomes(passed=5)


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_benchmark_skip_and_only_see_the_tests_that_use_our_fixtures(
    runner: pytest.Pytester,
) -> None:
    runner.makepyfile(COUNTING.format(condition="== 0"))
    skipping = runner.runpytest_subprocess(*BOTH, "--benchmark-skip")
    skipping.assert_outcomes(passed=1, skipped=1)
    only = runner.runpytest_subprocess(*BOTH, "--benchmark-only")
    only.assert_outcomes(passed=1, skipped=1)


@pytest.mark.slow
def test_torch_is_not_imported_before_a_fixture_is_used(runner: pytest.Pytester) -> None:
    runner.makepyfile(
        """
        import sys

        def test_plain():
            assert not {"torch", "pandas", "bench.worker"} & set(sys.modules)
        """
    )
    runner.runpytest_subprocess(*BOTH).assert_outcomes(passed=1)


def test_a_case_has_the_defaults_of_the_axes() -> None:
    assert make_case("convnet/conv1", {}).case_id == (
        "convnet/conv1:inference:b32:3x224x224:cpu:float32:amp=off:contiguous:compile=off:t=auto"
    )


def test_a_case_on_cuda_has_cudas_settings_and_no_threads() -> None:
    case = make_case("convnet", {"device": "cuda:0", "tf32": "on"})
    assert (case.threads, case.tf32, case.cudnn_benchmark) == (None, "on", "off")
    assert make_case("convnet", {"device": "cuda:0"}).tf32 == "default"


def test_the_largest_batch_is_not_looked_for_in_a_test() -> None:
    with pytest.raises(BenchCaseError, match="give a number"):
        make_case("convnet", {"batch": "max"})


@pytest.mark.parametrize("name", ["compile", "allocator"])
def test_what_needs_a_process_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(BenchCaseError, match=f"bench run --{name}"):
        make_case("convnet", {name: "default"})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(BenchCaseError, match="'size' is not a setting; choose from mode, batch"):
        make_case("convnet", {"size": 3})


def test_unsettled_and_contended_figures_are_doubted_in_words() -> None:
    assert doubts(settled=True, contention_ratio=0.01) == []
    assert doubts(settled=True, contention_ratio=None) == []
    assert doubts(settled=False, contention_ratio=0.73) == [
        "the times had not settled when the warm-up ended",
        "other work on this machine: threads waited for a processor during 73 % of the time",
    ]


RANDOM = """
import random
import numpy
import torch

def test_draws_on(bench_case):
    for seed in (torch.manual_seed, random.seed, numpy.random.seed):
        seed(11)
    expected = [torch.rand(1).item(), random.random(), numpy.random.rand()]
    for seed in (torch.manual_seed, random.seed, numpy.random.seed):
        seed(11)
    bench_case("torch.nn:Dropout", input="4", batch=2, mode="training")
    assert [torch.rand(1).item(), random.random(), numpy.random.rand()] == expected
"""


@pytest.mark.slow
def test_a_case_leaves_the_random_numbers_of_the_test_as_they_were(
    runner: pytest.Pytester,
) -> None:
    runner.makepyfile(RANDOM)
    runner.runpytest_subprocess(*OURS).assert_outcomes(passed=1)


FIGURES = """
import pytest

def test_case(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4", batch=2)

def test_mine(bench_callable):
    import torch
    weight = torch.ones(1000, 1000)
    bench_callable(lambda x: x + weight, torch.ones(1000, 1000))
"""


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_memory_percentiles_and_the_error_are_in_the_json_and_in_a_table(
    runner: pytest.Pytester,
) -> None:
    runner.makepyfile(FIGURES)
    result = runner.runpytest_subprocess(
        *BOTH, "--benchmark-json=out.json", "--benchmark-min-rounds=300"
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["Name *p90*p95*p99*peak memory*error*", "test_case *e-*"])
    found = stored(runner.path)
    case, mine = (found[name]["extra_info"] for name in ("test_case", "test_mine"))
    weights, inputs, outputs = 4 * (4 * 3 + 3), 4 * 2 * 4, 4 * 2 * 3
    assert weights + inputs + outputs <= case["peak_bytes"] < 1000
    assert 0 <= case["relative_error"] < 1e-5
    assert case["latency_p90_s"] <= case["latency_p95_s"] <= case["latency_p99_s"]
    assert mine["peak_bytes"] == 3 * 4_000_000
    assert mine["unknown"] == {"relative_error": "a callable has no reference"}
    assert "relative_error" not in mine


LIMITED = """
import torch

def test_within(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4", max_latency_s=60, max_peak_bytes=1e6)

def test_slow(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4", max_latency_s=1e-9)

def test_large(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4", max_peak_bytes=10)

def test_both(bench_callable):
    bench_callable(torch.ones, 1000, max_latency_s=1e-9, max_peak_bytes=10)

def test_wrong_limit(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4", max_latency_s="fast")
"""


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_limits_fail_a_test_with_a_sentence(runner: pytest.Pytester) -> None:
    runner.makepyfile(LIMITED)
    result = runner.runpytest_subprocess(*BOTH)
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines_random(
        [
            "*Linear(4, 3) takes * (median of * rounds); max_latency_s=1e-09 allows *",
            "*Linear(4, 3) needs * at its peak; max_peak_bytes=10 allows 10.0 B",
            "ones needs 4.00 kB at its peak; max_peak_bytes=10 allows 10.0 B",
            "*LimitError: max_latency_s='fast': expected a number above 0",
        ]
    )


@pytest.mark.slow
def test_under_benchmark_disable_memory_is_still_limited(runner: pytest.Pytester) -> None:
    runner.makepyfile(LIMITED)
    result = runner.runpytest_subprocess(*BOTH, "--benchmark-disable")
    result.assert_outcomes(passed=2, failed=3)


CALLS = """
import torch

def test_writes_to_its_input(bench_callable):
    x = torch.ones(4)
    assert bench_callable(lambda one: one.mul_(2), x).tolist() == [2, 2, 2, 2]
    assert x.tolist() == [1, 1, 1, 1]

def test_iterator(bench_callable):
    bench_callable(lambda steps: list(steps), iter([1, 2]))

async def later():
    pass

def test_later(bench_callable):
    bench_callable(later)

def test_steps(bench_case):
    bench_case("tests.subjects.hostile:UsesUpAnIterator", input="4", batch=2)
"""


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
@pytest.mark.parametrize("plugins", [BOTH, OURS])
def test_calls_are_alike_or_refused_in_a_line(
    runner: pytest.Pytester, plugins: tuple[str, ...]
) -> None:
    runner.makepyfile(CALLS)
    result = runner.runpytest_subprocess(*plugins)
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "*input 1 is an iterator (list_iterator), which the first call would use up*",
            "*a call of later gives a coroutine, which has run nothing yet*",
            "*steps is or holds an iterator (list_iterator), which the calls have used up*",
        ]
    )


PLACES = """
from bench.api import places

def test_of_its_tensors(bench_callable, monkeypatch):
    monkeypatch.setattr(places, "accelerator_of", lambda held, given: "cuda:77")
    bench_callable(len, [1])

def test_as_it_is_told(bench_callable, monkeypatch):
    monkeypatch.setattr(places, "accelerator_of", lambda held, given: "cuda:77")
    assert bench_callable(len, [1], on="cpu") == 1

def test_unseen(bench_callable, monkeypatch):
    counts = iter(range(100))
    monkeypatch.setattr(places, "accelerators_in_use", lambda: {"cuda:0": next(counts)})
    bench_callable(len, [1])
"""


@pytest.mark.slow
def test_a_callable_is_waited_for_where_its_tensors_lie(runner: pytest.Pytester) -> None:
    runner.makepyfile(PLACES)
    result = runner.runpytest_subprocess(*OURS)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*DeviceError: device 'cuda:77' does not exist here*",
            "*a call of len works on cuda:0, and nothing waits for it: give on='cuda:0'*",
        ]
    )


DEFAULT_DEVICE = """
import pytest
import torch

@pytest.fixture(autouse=True)
def on_another_device():
    torch.set_default_device("meta")
    yield
    assert torch.get_default_device().type == "meta"
    torch.set_default_device(None)

@pytest.mark.parametrize("mode", ["inference", "training"])
def test_case(bench_case, mode):
    output = bench_case("torch.nn:Linear(400, 400)", input="400", batch=2, mode=mode)
    assert output.device.type == "cpu"
"""


@pytest.mark.slow
def test_a_case_is_built_as_bench_run_builds_it_whatever_the_default_device_is(
    runner: pytest.Pytester,
) -> None:
    runner.makepyfile(DEFAULT_DEVICE)
    runner.runpytest_subprocess(*OURS).assert_outcomes(passed=2)


GROWING = """
def test_grows(bench_case):
    bench_case("tests.subjects.hostile:Streaming", input="4", batch=2, check=False)

def test_uncopied(bench_case):
    bench_case("tests.subjects.hostile:RemembersUncopied", batch=2, check=False)
"""


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_calls_that_do_more_than_the_one_before_are_warned_of(runner: pytest.Pytester) -> None:
    runner.makepyfile(GROWING)
    result = runner.runpytest_subprocess(*BOTH)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*BenchWarning: each call leaves more behind in past",
            "*BenchWarning: each call changes its inputs, which cannot be copied*",
        ]
    )


OWN_BATCH = """
def test_follows(bench_case):
    bench_case("tests.subjects.hostile:FourImages", batch=4)

def test_ignores(bench_case):
    bench_case("tests.subjects.hostile:FourImages", batch=8)
"""


@pytest.mark.slow
def test_a_batch_that_example_inputs_ignores_fails_the_test(runner: pytest.Pytester) -> None:
    runner.makepyfile(OWN_BATCH)
    result = runner.runpytest_subprocess(*OURS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*batch=8: example_inputs(batch) of * gives the same sizes*"])


WRONG = """
SUBJECT = "tests.subjects.truths:WrongInChannelsLast"
SETTINGS = {"input": "3,8,8", "batch": 2, "memory_format": "channels_last"}

def test_wrong(bench_case):
    bench_case(SUBJECT, **SETTINGS)

def test_unchecked(bench_case):
    bench_case(SUBJECT, **SETTINGS, check=False)
"""


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
def test_a_wrong_result_fails_the_test(runner: pytest.Pytester) -> None:
    runner.makepyfile(WRONG)
    result = runner.runpytest_subprocess(*BOTH)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the result of *WrongInChannelsLast is wrong: *"])


SLOWDOWN = """
import pytest

@pytest.mark.bench_slowdown(allowed=1.05)
def test_marked(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4")

def test_free(bench_case):
    bench_case("torch.nn:Linear(4, 3)", input="4")
"""


def save_copies(folder: Path, factors: list[float]) -> None:
    """Replace the saved runs by copies of the first, with times that are so many times as long."""
    first = min(folder.glob(".benchmarks/*/0001_*.json"))
    saved = json.loads(first.read_text())
    for number, factor in enumerate(factors, start=1):
        copy = json.loads(json.dumps(saved))
        for one in copy["benchmarks"]:
            one["stats"]["median"] *= factor
        first.with_name(f"{number:04}_copy.json").write_text(json.dumps(copy))
    first.unlink()


NEAR = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0, 1.001]


@pytest.mark.slow
@pytest.mark.alone  # pytest-benchmark measures nothing in a worker of xdist
@pytest.mark.parametrize(
    ("factors", "verdict", "failed"),
    [
        ([one / 50 for one in NEAR], "REGRESSED", 1),
        ([one * 50 for one in NEAR], "IMPROVED", 0),
        ([1 / 50], "SUSPECT", 0),
    ],
)
def test_a_marked_test_fails_if_it_is_slower_than_its_saved_runs(
    runner: pytest.Pytester, factors: list[float], verdict: str, failed: int
) -> None:
    runner.makepyfile(SLOWDOWN)
    first = runner.runpytest_subprocess(*BOTH, "--benchmark-save=first", "--strict-markers")
    first.assert_outcomes(passed=2)
    first.stdout.fnmatch_lines(["*has no saved time of the same case on this machine*"])
    save_copies(runner.path, factors)
    result = runner.runpytest_subprocess(*BOTH)
    outcomes = result.parseoutcomes()
    assert (outcomes.get("failed", 0), outcomes["passed"]) == (failed, 2 - failed)
    result.stdout.fnmatch_lines([f"test_marked *{verdict}"])
    if verdict != "IMPROVED":
        result.stdout.fnmatch_lines(
            [f"*times the baseline (*, {len(factors)} saved run*{verdict}*"]
        )
