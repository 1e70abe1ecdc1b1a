"""Free memory, and processes that the kernel ended for memory, from laid-out files."""

from pathlib import Path

import pytest

from bench.worker.process.limits import free_bytes, oom_kills


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "count"),
    [
        (
            {
                "proc/self/cgroup": "0::/user/run\n",
                "groups/user/run/memory.events": "low 0\noom 5\noom_kill 2\noom_group_kill 1\n",
                "proc/vmstat": "nr_free_pages 7\noom_kill 9\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a\n",
                "groups/memory/a/memory.oom_control": "under_oom 0\noom_kill 3\n",
                "proc/vmstat": "oom_kill 9\n",
            },
            3,
        ),
        (  # in a container: the path is the host's, the root is one's own
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n",
                "groups/memory/memory.oom_control": "under_oom 0\noom_kill 4\n",
            },
            4,
        ),
        ({"proc/self/cgroup": "0::/\n", "proc/vmstat": "oom_kill 9\n"}, 9),
        ({"proc/vmstat": "nr_free_pages 7\n"}, None),
        ({"proc/vmstat": "oom_kill many\n"}, None),
    ],
)
def test_kills_of_the_own_group_count_and_else_those_of_the_machine(
    tmp_path: Path, files: dict[str, str], count: int | None
) -> None:
    lay(tmp_path, files)
    assert oom_kills(tmp_path / "proc", tmp_path / "groups") == count


@pytest.mark.parametrize(
    ("files", "free"),
    [
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "groups/a/memory.max": "900\n",
                "groups/a/memory.current": "500\n",
                "groups/a/memory.stat": "anon 300\ninactive_file 150\n",
                "groups/a/b/memory.max": "max\n",
                "groups/a/b/memory.current": "400\n",
            },
            550,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n",
                "groups/memory/a/memory.limit_in_bytes": "900\n",
                "groups/memory/a/memory.usage_in_bytes": "850\n",
                "groups/memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 20\n",
            },
            70,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "groups/memory.max": "100\n",
                "groups/memory.current": "200\n",
            },
            0,
        ),
    ],
)
def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, files: dict[str, str], free: int
) -> None:
    lay(tmp_path, files)
    assert free_bytes(tmp_path / "proc", tmp_path / "groups") == free


def test_without_a_limit_all_that_the_machine_has_is_free(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/self/cgroup": "0::/\n"})
    assert free_bytes(tmp_path / "proc", tmp_path / "groups") > 2**20
