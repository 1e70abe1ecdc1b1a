"""What the system tells of its caches."""

from pathlib import Path

from bench.environment import last_cache_bytes


def system(root: Path, caches: dict[int, list[tuple[int, str, str]]]) -> Path:
    """/sys, with level, size and sharers of the caches by processor."""
    for processor, own in caches.items():
        for index, (level, size, shared) in enumerate(own):
            folder = root / f"devices/system/cpu/cpu{processor}/cache/index{index}"
            folder.mkdir(parents=True)
            for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
                (folder / name).write_text(f"{text}\n")
    return root


def test_the_cache_next_to_memory_counts_once_however_many_share_it(tmp_path: Path) -> None:
    both = [(3, "32768K", "0-1")]
    sys = system(tmp_path, {n: [(1, "32K", f"{n}"), (2, "1024K", f"{n}"), *both] for n in (0, 1)})
    assert last_cache_bytes([0, 1], sys) == 32 * 2**20


def test_dies_with_a_last_cache_each_have_all_of_them_those_that_are_used(tmp_path: Path) -> None:
    sys = system(tmp_path, {n: [(3, "16384K", f"{n}")] for n in (0, 1, 2)})
    assert last_cache_bytes([0, 2], sys) == 32 * 2**20


def test_caches_that_the_system_does_not_tell_are_unknown(tmp_path: Path) -> None:
    assert last_cache_bytes([0], tmp_path) is None
    assert last_cache_bytes([0], system(tmp_path, {0: [(3, "", "0")]})) is None
