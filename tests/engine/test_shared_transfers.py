"""Copies that are timed once for each replicate."""

from typing import Any

import pytest

from bench.core.records import Failure, Measurement, Samples
from bench.engine.shared_transfers import timed, with_transfers
from tests.support.cases import case

GPU: dict[str, Any] = {
    "device": "cuda:0", "threads": None, "allocator": None, "tf32": "off", "cudnn_benchmark": "off",
}  # fmt: skip


def samples(phase: str, time_s: float) -> Samples:
    return Samples(phase=phase, kind="latency", calls_per_sample=1, times_s=(time_s,))


def measured(replicate: int = 0, **changes: Any) -> Measurement:
    return Measurement(
        case=case(**{**GPU, **changes}),
        replicate=replicate,
        samples=(samples("forward", 1.0), samples("input_pinned", 2.0)),
        metrics={"bytes_moved:input_pinned": 64.0, "bytes_moved:forward": 3.0, "first_call_s": 5.0},
    )


@pytest.mark.parametrize(
    ("changes", "replicate", "expected"),
    [
        ({"tf32": "on"}, 0, True),
        ({"cudnn_benchmark": "on"}, 0, True),
        ({"compile": "default"}, 0, True),
        ({"tf32": "on"}, 1, False),
        ({"batch": 16}, 0, False),
        ({"amp": "float16"}, 0, False),
        ({"dtype": "bfloat16"}, 0, False),
        ({"memory_format": "channels_last"}, 0, False),
        ({"mode": "training"}, 0, False),
        ({"device": "cuda:1"}, 0, False),
        ({"device": "cpu"}, 0, False),
        ({"subject": "convnet/conv1"}, 0, False),
    ],
)
def test_transfers_are_shared_by_the_cases_of_a_replicate_that_move_the_same_data(
    changes: dict[str, Any], replicate: int, expected: bool
) -> None:
    found = timed([measured()], case(**{**GPU, **changes}), replicate)
    assert (found is not None) is expected


def test_an_outcome_without_transfers_of_its_own_gives_none() -> None:
    other = measured(tf32="on")
    borrowed = with_transfers(other, measured())
    without = Measurement(case=case(**GPU), replicate=0, samples=(samples("forward", 1.0),))
    failed = Failure(case=case(**GPU), replicate=0, status="oom", reason="full")
    assert timed([borrowed, without, failed], case(**GPU), 0) is None


def test_a_measurement_gets_the_samples_and_the_bytes_and_says_whose_they_are() -> None:
    own = Measurement(
        case=case(**{**GPU, "tf32": "on"}),
        replicate=0,
        samples=(samples("forward", 0.5),),
        metrics={"first_call_s": 7.0},
    )
    found = with_transfers(own, measured())
    assert found.samples == (samples("forward", 0.5), samples("input_pinned", 2.0))
    assert found.metrics == {"first_call_s": 7.0, "bytes_moved:input_pinned": 64.0}
    assert found.state["transfers_of"] == case(**GPU).case_id
