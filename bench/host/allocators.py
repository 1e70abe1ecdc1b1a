"""The axis `allocator`: environment variables that must be set before a process starts.

glibc reads them at the start of a process: mallopt(3), and "Tunables" in its manual.
"""

import re
from collections.abc import Mapping

# With these, glibc keeps freed memory in the process.  Effect: docs/trust.md, rule 33b.
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
    """Return the variables `given` with those of the allocator set or removed.

    retained:        THRESHOLDS and huge pages (`python -m experiments.noise` shows the effect).
    system, or None: the defaults of the C library.
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


def can_be_chosen(given: Mapping[str, str], libc: str) -> bool:
    """Return whether the axis has an effect: on glibc, which no other allocator replaces.

    libc: as `platform.libc_ver` names it.
    """
    return libc == "glibc" and replaced_by(given) is None


def exports() -> str:
    """Return the line that gives a plain script `allocator=retained`, for a shell."""
    chosen = environment("retained", {})
    return "export " + " ".join(f"{name}={value}" for name, value in chosen.items())


def replaced_by(given: Mapping[str, str]) -> str | None:
    """Return a warning if another allocator replaces that of the C library; else None.

    Another allocator ignores the variables above, so `retained` and `system` do not differ.
    """
    other = _OTHERS.search(given.get(PRELOADED, ""))
    if other is None:
        return None
    return (
        f"{other[0]} is preloaded and replaces the allocator of the C library: allocator=retained "
        f"has no effect; unset {PRELOADED}, or compare only with runs that have it too"
    )
