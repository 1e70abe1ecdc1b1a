"""The accelerator's work and what bounds a step, from made-up traces: no GPU is needed."""

import pytest

from bench.worker.profiler.device import (
    bottleneck,
    bottleneck_without_kernels,
    launched_within,
    owned_ns,
    waited_ns,
    work,
)
from bench.worker.profiler.events import Event
from bench.worker.profiler.operators import costs, kernels
from bench.worker.profiler.owners import Owner, Span, Timeline

CONV, RELU = Owner("conv", "forward"), Owner("relu", "forward")
LINE = Timeline.of([Span(0, 10, CONV), Span(10, 20, RELU)])


def launch(id_: int, at: int, name: str = "cudaLaunchKernel", long: int = 1) -> Event:
    return Event(name=name, start_ns=at, end_ns=at + long, kind="runtime", id=id_)


def kernel(id_: int, start: int, end: int, linked: int = 0, name: str = "gemm") -> Event:
    return Event(name=name, start_ns=start, end_ns=end, kind="device", id=id_, linked=linked)


def operator(id_: int, start: int, end: int, name: str = "aten::mm") -> Event:
    return Event(name=name, start_ns=start, end_ns=end, id=id_)


def test_a_kernel_belongs_to_the_layer_that_launched_it_however_late_it_runs() -> None:
    events = [launch(1, 5), launch(2, 15), kernel(1, 100, 140), kernel(2, 140, 150)]
    assert owned_ns(work(events), LINE) == {CONV: 40, RELU: 10}


def test_without_a_launch_in_the_trace_the_operator_says_when() -> None:
    (done,) = work([operator(7, 12, 14), kernel(1, 100, 140, linked=7)])
    assert (done.launched_ns, done.operator) == (12, "aten::mm")


def test_kernels_that_run_side_by_side_count_once() -> None:
    events = [launch(1, 5), launch(2, 15), kernel(1, 100, 140), kernel(2, 120, 150)]
    assert owned_ns(work(events), LINE) == {CONV: 40, RELU: 10}
    inside = [launch(1, 5), launch(2, 15), kernel(1, 100, 140), kernel(2, 110, 120)]
    assert owned_ns(work(inside), LINE) == {CONV: 40}


def test_a_step_has_the_work_that_was_launched_in_it() -> None:
    done = work([launch(1, 5), launch(2, 25), kernel(1, 30, 40), kernel(2, 40, 50)])
    assert [one.event.id for one in launched_within(done, 0, 20)] == [1]


@pytest.mark.parametrize(
    "name",
    [
        "cudaDeviceSynchronize",
        "cudaStreamSynchronize",
        "hipEventSynchronize",
        "zeEventHostSynchronize",
        "urQueueFinish",
        "aclrtSynchronizeStream",
        "cnrtQueueSync",
        "simStreamSynchronize",
    ],
)
def test_the_host_waits_in_synchronisation(name: str) -> None:
    events = [launch(1, 5, name, long=3), launch(2, 6), launch(3, 25, name, long=9)]
    assert waited_ns(events, 0, 20) == 3


def copied(call: str, what: str, id_: int = 4) -> list[Event]:
    """A call of 3 ns that copies, and what the device did for it while the call lasted."""
    return [launch(4, 5, call, long=3), launch(5, 9), kernel(id_, 6, 8, name=f"Memcpy {what}")]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("cudaMemcpyAsync", "HtoD (Pageable -> Device)"),
        ("cudaMemcpyAsync", "DtoH (Device -> Pageable)"),
        ("cudaMemcpy", "DtoH (Device -> Pinned)"),
        ("hipMemcpy", "HtoD (Pinned -> Device)"),
    ],
)
def test_the_host_waits_for_copies_that_block(call: str, what: str) -> None:
    assert waited_ns(copied(call, what), 0, 20) == 3
    assert waited_ns(copied(call, what, id_=0), 0, 20) == 3  # by overlap: no call has its id


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("cudaMemcpyAsync", "DtoD (Device -> Device)"),
        ("cudaMemcpy", "DtoD (Device -> Device)"),
        ("cudaMemcpyAsync", "DtoH (Device -> Pinned)"),
        ("cudaMemcpyAsync", "HtoD (Pinned -> Device)"),
        ("cudaMemsetAsync", "HtoD (Pageable -> Device)"),
    ],
)
def test_a_copy_inside_the_device_or_with_pinned_memory_is_no_wait(call: str, what: str) -> None:
    assert waited_ns(copied(call, what), 0, 20) == 0
    assert waited_ns(copied(call, what, id_=0), 0, 20) == 0


def test_a_copy_of_another_call_makes_none_wait() -> None:
    blocks = "Memcpy HtoD (Pageable -> Device)"
    clone = launch(4, 5, "cudaMemcpyAsync", long=3)
    other = launch(9, 30, "cudaMemcpyAsync")
    assert waited_ns([clone, other, kernel(9, 6, 8, name=blocks)], 0, 20) == 0
    assert waited_ns([clone, kernel(0, 8, 10, name=blocks)], 0, 20) == 0  # begins as it returns


@pytest.mark.parametrize("call", ["simCopy", "aclrtMemcpy", "zeCommandListAppendMemoryCopy(M2D)"])
def test_a_copy_whose_name_says_nothing_has_blocked_if_it_returned_when_the_copy_was_done(
    call: str,
) -> None:
    def traced(copied_until: int) -> list[Event]:
        return [launch(4, 5, call, long=3), kernel(4, 6, copied_until, name="sim_to_host")]

    assert waited_ns(traced(8), 0, 20) == 3
    assert waited_ns(traced(9), 0, 20) == 0


def test_a_launch_whose_kernel_is_done_at_once_is_no_wait() -> None:
    events = [launch(4, 5, "simLaunchKernel", long=3), kernel(4, 6, 7, name="sim_copy")]
    assert waited_ns(events, 0, 20) == 0


@pytest.mark.parametrize(
    ("host_s", "bound_by", "share"),
    [(1e-3, "device", "10%"), (9.5e-3, "host", "95%"), (11e-3, "host", "100%")],
)
def test_without_kernels_a_host_that_is_done_early_leaves_the_device_as_what_bounds_the_step(
    host_s: float, bound_by: str, share: str
) -> None:
    found = bottleneck_without_kernels(host_s, 10e-3)
    assert found.bound_by == bound_by
    assert found.why == f"the host took {share} of the time to issue it"
    assert bottleneck_without_kernels(host_s, 0.0).bound_by is None


def test_waits_are_held_against_the_profiled_step_in_which_they_were_seen() -> None:
    slowed = bottleneck(
        host_s=9.8e-3, device_s=10e-3, busy_s=3e-3, waited_s=1.5e-3, profiled_s=20e-3
    )
    assert slowed.bound_by == "launches"
    waits = bottleneck(
        host_s=9.8e-3, device_s=10e-3, busy_s=3e-3, waited_s=2.1e-3, profiled_s=20e-3
    )
    assert waits.bound_by == "waits"
    assert waits.why.endswith("the host waited for it in 10% of a profiled step")


def test_a_busy_device_is_what_bounds_the_step_however_long_the_host_waits() -> None:
    found = bottleneck(host_s=10e-3, device_s=10e-3, busy_s=9.1e-3, waited_s=8e-3, profiled_s=10e-3)
    assert found.bound_by == "device"
    assert found.why == "it worked in 91% of the time"


def test_an_idle_device_and_a_host_that_issues_is_bound_by_launches() -> None:
    found = bottleneck(
        host_s=9.8e-3, device_s=10e-3, busy_s=3e-3, waited_s=0.2e-3, profiled_s=10e-3
    )
    assert found.bound_by == "launches"
    assert "idled in 70%" in found.why


def test_an_idle_device_and_a_host_that_waits_is_bound_by_waits() -> None:
    found = bottleneck(host_s=9.8e-3, device_s=10e-3, busy_s=6e-3, waited_s=4e-3, profiled_s=10e-3)
    assert found.bound_by == "waits"


def test_where_neither_explains_the_idle_device_nothing_is_claimed() -> None:
    idle = {"host_s": 1e-3, "busy_s": 3e-3, "waited_s": 0.0}
    assert bottleneck(device_s=10e-3, profiled_s=10e-3, **idle).bound_by is None
    assert bottleneck(device_s=0.0, profiled_s=10e-3, **idle).bound_by is None
    assert bottleneck(device_s=10e-3, profiled_s=0.0, **idle).bound_by is None


def test_an_operators_own_time_is_without_what_it_calls() -> None:
    found = costs([operator(1, 0, 100, "outer"), operator(2, 10, 40, "inner")], [])
    assert (found["outer"].self_host_ns, found["outer"].host_ns) == (70, 100)
    assert (found["inner"].self_host_ns, found["inner"].host_ns) == (30, 30)


def test_an_operator_inside_itself_counts_its_time_once_and_its_calls_twice() -> None:
    found = costs([operator(1, 0, 100, "sum"), operator(2, 10, 40, "sum")], [])
    assert (found["sum"].calls, found["sum"].self_host_ns, found["sum"].host_ns) == (2, 100, 100)


def test_operators_of_two_threads_do_not_contain_each_other() -> None:
    other = Event(name="b", start_ns=10, end_ns=20, thread=2)
    found = costs([operator(1, 0, 100, "a"), other], [])
    assert found["a"].self_host_ns == 100


def test_a_kernels_time_is_its_operators_own_and_the_outer_ones_as_well() -> None:
    events = [operator(1, 0, 100, "linear"), operator(2, 10, 40, "addmm")]
    done = work([*events, kernel(9, 200, 250, linked=2)])
    found = costs(events, done)
    assert (found["addmm"].self_device_ns, found["addmm"].device_ns) == (50, 50)
    assert (found["linear"].self_device_ns, found["linear"].device_ns) == (0, 50)


def test_kernels_are_listed_by_name_and_operator() -> None:
    done = work([operator(2, 0, 5, "aten::mm"), kernel(8, 10, 20, 2), kernel(9, 20, 25, 2)])
    assert kernels(done) == {("gemm", "aten::mm"): (2, 15)}
