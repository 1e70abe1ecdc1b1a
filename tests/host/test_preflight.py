"""A look at machines laid out in files: a line for each thing that disturbs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.host import preflight
from bench.host.environment import quota_cores
from tests.worker.process.test_limits import lay

QUIET = {
    "proc/loadavg": "0.10 0.20 0.30 1/200 4711\n",
    "proc/stat": "cpu  9 0 9 9\n" + "".join(f"cpu{one} 9 0 9 9\n" for one in range(4)) + "intr 5\n",
    "proc/meminfo": "MemTotal: 8000000 kB\nSwapTotal: 4000000 kB\nSwapFree: 3990000 kB\n",
    "proc/self/cgroup": "0::/\n",
    "proc/31/stat": "31 (worker) S 1 31 31 0 -1 0 0 0 0 0 500 20 0 0 20 0 1 0 9 0 0\n",
    "proc/32/stat": "32 (a) R (b) S 1 32 32 0 -1 0 0 0 0 0 500 20 0 0 20 0 1 0 9 0 0\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/class/power_supply/AC/online": "1\n",
    "sys/class/power_supply/BAT0/status": "Charging\n",
    **{
        f"sys/devices/system/cpu/cpu{number}/{name}": text
        for number in range(4)
        for name, text in (
            ("cpufreq/scaling_governor", "performance\n"),
            ("topology/thread_siblings_list", f"{number}\n"),
        )
    },
}
Look = Callable[..., list[str]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Warnings of the quiet machine with some files changed; `later` comes during the look."""

    def one(
        files: dict[str, str] | None = None,
        later: dict[str, str] | None = None,
        allowed: Sequence[int] = range(4),
        threads: int | None = None,
    ) -> list[str]:
        lay(tmp_path, {**QUIET, **(files or {})})
        folders = preflight.KernelFolders(
            tmp_path / "proc", tmp_path / "sys", tmp_path / "sys/fs/cgroup"
        )
        return preflight.warnings(folders, lambda: lay(tmp_path, later or {}), allowed, threads)

    return one


def test_of_a_quiet_machine_nothing_is_said(look: Look) -> None:
    assert look() == []


def test_of_a_machine_that_tells_nothing_nothing_is_said(tmp_path: Path) -> None:
    nowhere = preflight.KernelFolders(tmp_path, tmp_path, tmp_path)
    assert preflight.warnings(nowhere, lambda: None, range(4)) == []


@pytest.mark.parametrize(
    ("preloaded", "name"),
    [
        ("/usr/lib/libjemalloc.so.2", "libjemalloc.so.2"),
        ("/home/me/libnuma.so:/home/me/libtcmalloc_minimal.so.4", "libtcmalloc_minimal.so.4"),
        ("libmimalloc.so other.so", "libmimalloc.so"),
    ],
)
def test_an_allocator_that_takes_the_place_of_the_c_librarys_is_named(
    look: Look, monkeypatch: pytest.MonkeyPatch, preloaded: str, name: str
) -> None:
    monkeypatch.setenv("LD_PRELOAD", preloaded)
    (said,) = look()
    assert said.startswith(f"{name} is preloaded and replaces the allocator of the C library: ")
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libnuma.so")
    assert look() == []


CPU = "sys/devices/system/cpu"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            {"proc/loadavg": "2.10 1.00 0.50 3/200 4711\n"},
            "the machine is busy (load 2.1 on 4 processors): expect wide intervals",
        ),
        (
            {f"{CPU}/cpu3/cpufreq/scaling_governor": "powersave\n"},
            (
                "the processor saves power (governor powersave): echo performance | sudo tee "
                "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            ),
        ),
        (
            {"sys/fs/cgroup/cpu.max": "150000 100000\n"},
            "the container may use 1.5 of 4 processors and is halted beyond that: --threads 1",
        ),
        (
            {
                "sys/class/power_supply/AC/online": "0\n",
                "sys/class/power_supply/BAT0/status": "Discharging\n",
            },
            "the machine runs on its battery: plug it in",
        ),
        (
            {
                f"{CPU}/cpu{one}/topology/thread_siblings_list": f"{one % 2},{one % 2 + 2}\n"
                for one in range(4)
            },
            "4 processors are 2 cores (SMT): use at most 2 threads (--threads 2)",
        ),
        (
            {"proc/meminfo": "SwapTotal: 4000000 kB\nSwapFree: 3000000 kB\n"},
            "1.02 GB of memory are in swap: memory is or was short; end other programs",
        ),
    ],
)
def test_what_disturbs_is_said_in_a_line(look: Look, files: dict[str, str], says: str) -> None:
    assert look(files) == [says]


def test_the_load_of_a_machine_is_held_against_all_of_its_processors(look: Look) -> None:
    busy = {"proc/loadavg": "1.90 1.00 0.50 3/200 4711\n"}
    assert look(busy, allowed=[0]) == []
    (said,) = look({"proc/loadavg": "2.10 1.00 0.50 3/200 4711\n"}, allowed=[0])
    assert said.startswith("the machine is busy (load 2.1 on 4 processors)")


EIGHT = {
    f"{CPU}/cpu{one}/topology/thread_siblings_list": f"{one % 4},{one % 4 + 4}\n"
    for one in range(8)
}


@pytest.mark.parametrize(
    ("allowed", "says"),
    [
        ([0, 1, 2, 3], []),
        ([1, 6], []),
        ([0, 4], ["2 processors are 1 core (SMT): use at most 1 thread (--threads 1)"]),
        (
            [0, 1, 2, 3, 4, 5],
            ["6 processors are 4 cores (SMT): use at most 4 threads (--threads 4)"],
        ),
    ],
)
def test_only_processors_that_may_be_used_are_counted_as_threads_of_a_core(
    look: Look, allowed: list[int], says: list[str]
) -> None:
    assert look(EIGHT, allowed=allowed) == says


def test_as_many_threads_as_there_are_cores_disturb_nothing(look: Look) -> None:
    """torch takes a thread for each core by itself where it has MKL."""
    assert look(EIGHT, allowed=range(8), threads=4) == []
    (said,) = look(EIGHT, allowed=range(8), threads=5)
    assert said == "8 processors are 4 cores (SMT): use at most 4 threads (--threads 4)"
    assert len(look(EIGHT, allowed=range(8))) == 1


def test_as_many_threads_as_a_quota_allows_are_not_halted(look: Look) -> None:
    quota = {"sys/fs/cgroup/cpu.max": "200000 100000\n"}
    assert look(quota, threads=2) == []
    (said,) = look(quota, threads=3)
    assert said == "the container may use 2 of 4 processors and is halted beyond that: --threads 2"


@pytest.mark.parametrize(
    ("asked", "auto", "most"),
    [
        (["auto"], 4, 4),
        (["auto", "2"], 4, 4),
        (["8", None, "auto"], 4, 8),
        (["8", "auto"], None, None),
        (["8"], None, 8),
        ([], 4, None),
    ],
)
def test_the_most_threads_are_those_of_the_cases_and_torchs_own(
    asked: list[str | None], auto: int | None, most: int | None
) -> None:
    assert preflight.most_threads(asked, auto) == most


def test_the_busiest_two_processes_are_named_in_one_line(look: Look) -> None:
    working = QUIET["proc/31/stat"].replace(" 500 20 ", " 515 25 ")
    assert look(later={"proc/31/stat": working}) == [
        (
            "1 other process is computing (31 worker 80 % of a processor): end it, or expect rows "
            "flagged contended"
        )
    ]
    third = QUIET["proc/31/stat"].replace("31 (worker)", "33 (nginx: a)")
    begun = {"proc/33/stat": third}
    three = {
        "proc/31/stat": QUIET["proc/31/stat"].replace(" 500 20 ", " 513 20 "),
        "proc/32/stat": QUIET["proc/32/stat"].replace(" 500 20 ", " 530 20 "),
        "proc/33/stat": third.replace(" 500 20 ", " 525 20 "),
    }
    assert look(begun, later=three) == [
        (
            "3 other processes are computing (32 a) R (b 120 % of a processor, 33 nginx a 100 %, "
            "…): end them, or expect rows flagged contended"
        )
    ]


def test_the_share_is_of_the_time_that_the_look_took(look: Look) -> None:
    """On a busy machine a pause of 0.25 s takes longer: 40 ticks in 0.5 s are 80 %."""
    working = QUIET["proc/31/stat"].replace(" 500 20 ", " 530 30 ")
    assert look(
        {"proc/uptime": "100.00 1.0\n"}, {"proc/uptime": "100.50 1.0\n", "proc/31/stat": working}
    ) == [
        (
            "1 other process is computing (31 worker 80 % of a processor): end it, or expect rows "
            "flagged contended"
        )
    ]


def test_a_load_of_which_no_process_is_busy_now_names_those_that_did_the_most(look: Look) -> None:
    some = QUIET["proc/31/stat"].replace(" 500 20 ", " 510 20 ")
    loaded = {"proc/loadavg": "2.10 1.00 0.50 3/200 4711\n"}
    (said,) = look(loaded, {"proc/31/stat": some})
    assert said == (
        "the machine is busy (load 2.1 on 4 processors, most by 31 worker 40 % of a processor): "
        "expect wide intervals"
    )
    assert said.count(": ") == 1  # where `bench doctor` divides it


def test_a_process_that_this_one_has_started_is_none_of_the_others(tmp_path: Path) -> None:
    lay(tmp_path, QUIET)
    folders = preflight.KernelFolders(proc=tmp_path / "proc")
    found = preflight.other_processes(folders, lambda: None, own=[31])
    assert [one.pid for one in found] == ["32"]


def test_who_woke_up_once_or_just_began_is_not_busy(look: Look) -> None:
    once = QUIET["proc/31/stat"].replace(" 500 20 ", " 505 20 ")
    new = QUIET["proc/31/stat"].replace("31", "33")
    assert look(later={"proc/31/stat": once, "proc/33/stat": new}) == []


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"self/cgroup": "0::/a/b\n", "groups/a/cpu.max": "200000 100000\n"}, 2.0),
        (
            {
                "self/cgroup": "0::/a/b\n",
                "groups/a/cpu.max": "200000 100000\n",
                "groups/a/b/cpu.max": "50000 100000\n",
            },
            0.5,
        ),
        (
            {
                "self/cgroup": "3:cpu,cpuacct:/docker/x\n",
                "groups/cpu/cpu.cfs_quota_us": "300000\n",
                "groups/cpu/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        ({"self/cgroup": "0::/\n", "groups/cpu.max": "max 100000\n"}, None),
        ({"self/cgroup": "0::/\n", "groups/cpu.max": "what\n"}, None),
        ({}, None),
    ],
)
def test_the_tightest_quota_of_the_groups_above_counts(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    lay(tmp_path, files)
    assert quota_cores(tmp_path, tmp_path / "groups") == cores
