"""The choice of allocators, by a setting and by hand."""

import pytest

from bench.host import allocators


def test_the_line_to_copy_sets_what_the_suite_sets() -> None:
    assert allocators.exports() == (
        "export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 "
        "MALLOC_TOP_PAD_=268435456 GLIBC_TUNABLES=glibc.malloc.hugetlb=1"
    )


@pytest.mark.parametrize(
    ("given", "libc", "can"),
    [
        ({}, "glibc", True),
        ({"LD_PRELOAD": "/usr/lib/libmine.so"}, "glibc", True),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, "glibc", False),
        ({}, "", False),  # macOS, musl
    ],
)
def test_an_allocator_can_be_chosen_where_glibc_allocates(
    given: dict[str, str], libc: str, *, can: bool
) -> None:
    assert allocators.can_be_chosen(given, libc) is can
