"""Words about an accelerator's allocator: memory in fragments, and memory that was nearly full."""

from bench.core import units
from bench.core.text import times

# Beside what is in use, torch's allocator keeps libraries' workspaces (32 MiB of cuBLAS on Hopper)
# and rounds blocks up to segments of 2 MiB or 20 MiB, so a little more is no fragmentation.
FRAGMENTED_RATIO = 1.5
FRAGMENTED_BYTES = 2**29
# The variable has this name since torch 2.9; CUDA's and XPU's allocators know the setting.
EXPANDABLE = "PYTORCH_ALLOC_CONF=expandable_segments:True"
EXPANDABLE_ON = ("cuda", "xpu")


def fragmentation(device: str, peak_bytes: int | None, reserved_bytes: int | None) -> str | None:
    """Say that the allocator holds much more than is ever in use at once, or return None.

    peak_bytes, reserved_bytes: of one call, the allocator's cache empty before.
    """
    if not peak_bytes or reserved_bytes is None:
        return None
    more_bytes = reserved_bytes - peak_bytes
    if reserved_bytes < FRAGMENTED_RATIO * peak_bytes or more_bytes < FRAGMENTED_BYTES:
        return None
    known = device.partition(":")[0] in EXPANDABLE_ON
    return (
        f"the allocator of {device} holds {units.bytes_(reserved_bytes)} for a peak of "
        f"{units.bytes_(peak_bytes)} in use at once: its memory is in fragments"
        + (f"; try {EXPANDABLE} in the environment" if known else "")
    )


def pressure(retries: int, ooms: int) -> str | None:
    """Say that memory was nearly full, or return None.

    retries: how often the allocator gave its cache back and asked the device again.
    ooms:    how often it then found no memory, and the call went on without.
    """
    if ooms:
        return (
            f"the device ran out of memory {times(ooms)} during the samples, and the calls went on"
        )
    if retries:
        return (
            f"the allocator gave its cache back {times(retries)} during the samples, because the "
            "device's memory is nearly full"
        )
    return None
