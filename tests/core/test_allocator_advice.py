"""Words about the memory of an accelerator."""

import pytest

from bench.core.allocator_advice import fragmentation, pressure


def test_memory_in_fragments_is_said_with_both_figures_and_torchs_setting() -> None:
    assert fragmentation("cuda:0", 6_000_000_000, 12_000_000_000) == (
        "the allocator of cuda:0 holds 12.0 GB for a peak of 6.00 GB in use at once: its memory is "
        "in fragments; try PYTORCH_ALLOC_CONF=expandable_segments:True in the environment"
    )


def test_a_device_whose_allocator_lacks_the_setting_gets_no_advice() -> None:
    said = fragmentation("sim:1", 6_000_000_000, 12_000_000_000)
    assert said is not None
    assert said.endswith("its memory is in fragments")


@pytest.mark.parametrize(
    ("peak_bytes", "reserved_bytes"),
    [
        (10_000_000_000, 14_000_000_000),  # much more, but a small share
        (10_000_000, 80_000_000),  # workspaces of libraries
        (None, 2**40),
        (2**30, None),
        (0, 2**40),
    ],
)
def test_what_an_allocator_usually_keeps_is_no_fragmentation(
    peak_bytes: int | None, reserved_bytes: int | None
) -> None:
    assert fragmentation("cuda:0", peak_bytes, reserved_bytes) is None


def test_a_cache_that_was_given_back_is_said_and_an_end_of_memory_before_it() -> None:
    assert pressure(0, 0) is None
    assert pressure(1, 0) == (
        "the allocator gave its cache back once during the samples, because the device's memory is "
        "nearly full"
    )
    assert pressure(3, 2) == (
        "the device ran out of memory 2 times during the samples, and the calls went on"
    )
