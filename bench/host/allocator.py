"""The axis `allocator`: the variables that a process has to be started with.

glibc reads them once, when the process begins: mallopt(3), and "Tunables" in its manual.
"""

import re
from collections.abc import Mapping

# Freed memory stays with the process: above these, glibc neither maps nor returns single
# blocks.  Measured: docs/trust.md, rule 33b.
THRESHOLDS = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
TUNABLES = "GLIBC_TUNABLES"
PRELOADED = "LD_PRELOAD"
_OTHERS = re.compile(r"[^\s:/]*(?:(?:je|tc|mi|sn|rp)malloc|hoard|scudo)[^\s:/]*")
HUGE_PAGES = "glibc.malloc.hugetlb"  # 1: the heap asks the kernel for pages of 2 MB (glibc 2.35)


def environment(allocator: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process with this allocator, out of those `given`.

    retained: thresholds as above, and huge pages: which small pages a process happens to get
              decides its speed for as long as it lives (`python -m experiments.noise`).
    system, or None where the axis has no meaning: as the C library comes.
    """
    found = {name: value for name, value in given.items() if name not in THRESHOLDS}
    tunables = [
        one
        for one in found.pop(TUNABLES, "").split(":")
        if one and one.partition("=")[0] != HUGE_PAGES
    ]
    if allocator == "retained":
        found |= THRESHOLDS
        tunables.append(f"{HUGE_PAGES}=1")
    if tunables:
        found[TUNABLES] = ":".join(tunables)
    return found


def displaced(given: Mapping[str, str]) -> str | None:
    """What is to be said where an allocator of the user's own takes the place of the C library's.

    It reads none of the variables above: `retained` and `system` are then one and the same.
    """
    other = _OTHERS.search(given.get(PRELOADED, ""))
    if other is None:
        return None
    return (
        f"{other[0]} is preloaded and allocates in place of the C library: allocator=retained is "
        f"without effect; unset {PRELOADED}, or compare with such runs alone"
    )
