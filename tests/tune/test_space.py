"""Which settings a search tries, by device and by kind of call."""

import pytest

from bench.core.records import Case
from bench.host.probed import Device, Probe, SubjectFound
from bench.tune.space import Choice, Space, changed, make

DEVICES = (
    Device(name="cpu", shown="a processor"),
    Device(name="cuda:0", shown="a GPU", has_cudnn=True, has_tf32=True),
)
PROBE = Probe(
    torch="2.13.0",
    torch_details={},
    devices={one.name: one for one in DEVICES},
    subjects={"convnet": SubjectFound(has_inputs=True, layers=())},
)


def space(device: str, mode: str, choice: Choice | None = None) -> Space:
    return make(PROBE, "convnet", device, choice or Choice(), 8, {"mode": [mode], "batch": ["8"]})


def settings(found: Space) -> set[tuple[tuple[str, str], ...]]:
    return {changed(case, found.plain) for case in found.eager}


def half(case: Case) -> bool:
    return case.amp != "off" or case.dtype != "float32"


@pytest.mark.parametrize(("mode", "number"), [("training", 8), ("inference", 12)])
def test_a_gpu_has_tf32_in_single_precision_alone_and_no_search_at_first(
    mode: str, number: int
) -> None:
    found = space("cuda:0", mode)
    assert len(found.eager) == number
    assert found.cudnn
    assert {case.cudnn_benchmark for case in found.eager} == {"off"}
    assert {half(case) for case in found.eager if case.tf32 == "on"} == {False}
    assert {case.memory_format for case in found.eager if half(case)} == {
        "contiguous",
        "channels_last",
    }
    assert found.compiled == ("default", "reduce-overhead", "max-autotune")


def test_a_cpu_has_no_cudnn() -> None:
    found = space("cpu", "inference")
    assert not found.cudnn
    assert {case.cudnn_benchmark for case in found.eager} == {None}
    assert {case.tf32 for case in found.eager} == {None}


def test_cudnns_search_alone_can_be_asked_for() -> None:
    found = space("cuda:0", "inference", Choice(only=("cudnn_benchmark",)))
    assert (found.eager, found.cudnn, found.compiled) == ((found.plain,), True, ())


def test_cudnns_search_that_is_given_is_in_all_settings() -> None:
    found = space("cuda:0", "training", Choice(fixed={"cudnn_benchmark": "on"}))
    assert not found.cudnn
    assert {case.cudnn_benchmark for case in found.eager} == {"on"}


def test_tf32_alone_is_tried_where_half_precision_is_given() -> None:
    choice = Choice(only=("tf32",), fixed={"amp": "bfloat16"})
    assert settings(space("cuda:0", "training", choice)) == {(), (("tf32", "on"),)}
