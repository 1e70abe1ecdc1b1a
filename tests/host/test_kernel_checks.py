"""The findings from the kernel's files of a machine, with their remedies."""

from pathlib import Path

import pytest

from bench.host import kernel_checks
from bench.host.finding import Finding
from bench.host.kernel_checks import Counters
from bench.host.preflight import KernelFolders
from tests.worker.process.test_limits import lay

CPUS = "sys/devices/system/cpu"
STAT = "cpu  100 0 100 700 0 0 0 {stolen} 0 0\ncpu0 1 1\n"


def places(root: Path) -> KernelFolders:
    return KernelFolders(root / "proc", root / "sys", root / "groups")


def found(root: Path, files: dict[str, str]) -> list[Finding]:
    lay(root, files)
    return list(kernel_checks.findings(places(root)))


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n"},
        {"sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n"},
        {f"{CPUS}/intel_pstate/no_turbo": "1\n", f"{CPUS}/cpufreq/boost": "0\n"},
        {f"{CPUS}/cpu0/cpufreq/energy_performance_preference": "performance\n"},
        {
            f"{CPUS}/cpu0/cpufreq/scaling_max_freq": "3400000\n",
            f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq": "3500000\n",
        },
        {
            f"{CPUS}/intel_pstate/no_turbo": "1\n",
            f"{CPUS}/cpu0/cpufreq/scaling_max_freq": "2600000\n",
            f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq": "4000000\n",
            f"{CPUS}/cpu0/cpufreq/base_frequency": "2600000\n",
        },
        {
            f"{CPUS}/intel_pstate/no_turbo": "1\n",
            f"{CPUS}/cpu0/cpufreq/scaling_max_freq": "2600000\n",
            f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq": "4000000\n",
        },
        {"proc/sys/kernel/perf_event_paranoid": "2\n"},
        {"groups/memory.max": "max\n"},
        {"groups/memory/memory.limit_in_bytes": "9223372036854771712\n"},
        {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n"},
    ],
)
def test_a_machine_as_it_should_be_has_no_finding(tmp_path: Path, files: dict[str, str]) -> None:
    lay(tmp_path, {"proc/self/cgroup": "3:memory:/\n0::/\n"})
    assert found(tmp_path, files) == []


@pytest.mark.parametrize(
    ("files", "level", "text", "mend"),
    [
        (
            {"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n"},
            "spoils",
            "the kernel gives no huge pages",
            "echo madvise | sudo tee",
        ),
        ({f"{CPUS}/intel_pstate/no_turbo": "0\n"}, "spoils", "boosted", "intel_pstate/no_turbo"),
        ({f"{CPUS}/cpufreq/boost": "1\n"}, "spoils", "boosted", "echo 0 | sudo tee"),
        ({f"{CPUS}/cpu0/cpufreq/boost": "1\n"}, "spoils", "boosted", "cpu*/cpufreq/boost"),
        (
            {
                f"{CPUS}/cpu0/cpufreq/energy_performance_preference": "balance_power\n",
                f"{CPUS}/cpu0/cpufreq/scaling_driver": "amd-pstate-epp\n",
            },
            "spoils",
            (
                "amd-pstate-epp prefers low power to speed (energy_performance_preference is "
                "balance_power)"
            ),
            "echo performance | sudo tee",
        ),
        (
            {
                f"{CPUS}/cpu0/cpufreq/scaling_max_freq": "1200000\n",
                f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq": "3500000\n",
            },
            "spoils",
            "the clock rate is limited to 1.2 GHz of 3.5 GHz",
            "echo 3500000 | sudo tee",
        ),
        (
            {
                f"{CPUS}/intel_pstate/no_turbo": "1\n",
                f"{CPUS}/cpu0/cpufreq/scaling_max_freq": "1200000\n",
                f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq": "4000000\n",
                f"{CPUS}/cpu0/cpufreq/base_frequency": "2600000\n",
            },
            "spoils",
            "the clock rate is limited to 1.2 GHz of 2.6 GHz",
            "echo 2600000 | sudo tee",
        ),
        (
            {"proc/sys/kernel/perf_event_paranoid": "4\n"},
            "lacks",
            "only root may read the processor's counters (perf_event_paranoid is 4)",
            "sudo sysctl kernel.perf_event_paranoid=2",
        ),
        (
            {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 500000 kB\n"},
            "spoils",
            "512 MB of memory are free",
            "end other programs",
        ),
        (
            {"proc/self/cgroup": "0::/run\n", "groups/run/memory.max": "1000000000\n"},
            "spoils",
            "the container may use 1.00 GB of memory, so that cases may end as oom",
            "give the container more memory",
        ),
    ],
)
def test_each_fault_is_told_with_its_remedy(
    tmp_path: Path, files: dict[str, str], level: str, text: str, mend: str
) -> None:
    (one,) = found(tmp_path, files)
    assert one.level == level
    assert text in one.text
    assert mend in str(one.mend)


def test_the_lowest_limit_of_a_group_and_those_above_it_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user/run\n",
        "groups/user/run/memory.max": "max\n",
        "groups/user/memory.max": "4000000000\n",
        "groups/memory.max": "9000000000\n",
    }
    assert found(tmp_path, files) == [Finding("ok", "the container may use 4.00 GB of memory")]


# --- counters ---------------------------------------------------------------------------------


def counters(throttled: int | None = None, stolen: float = 0.0, ticks: float = 0.0) -> Counters:
    return Counters(virtual=True, throttled=throttled, stolen=stolen, ticks=ticks)


def test_counters_are_those_of_all_processors(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            f"{CPUS}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{CPUS}/cpu1/thermal_throttle/core_throttle_count": "4\n",
            "proc/stat": STAT.format(stolen=100),
            "proc/cpuinfo": "flags\t\t: fpu avx2 hypervisor lahf_lm\n",
        },
    )
    read = kernel_checks.counters(places(tmp_path))
    assert read == Counters(virtual=True, throttled=7, stolen=100.0, ticks=1000.0)


def test_heat_that_several_processors_tell_of_is_counted_once(tmp_path: Path) -> None:
    for number in range(4):  # two packages of one core with two threads
        lay(
            tmp_path / CPUS / f"cpu{number}",
            {
                "topology/physical_package_id": f"{number // 2}\n",
                "topology/core_id": "0\n",
                "thermal_throttle/package_throttle_count": f"{1 + number // 2}\n",
                "thermal_throttle/core_throttle_count": f"{3 + number // 2}\n",
            },
        )
    assert kernel_checks.counters(places(tmp_path)).throttled == 1 + 2 + 3 + 4


def test_a_machine_without_these_files_has_no_counters(tmp_path: Path) -> None:
    read = kernel_checks.counters(places(tmp_path))
    assert read == Counters(virtual=False, throttled=None, stolen=0.0, ticks=0.0)
    assert list(kernel_checks.grown(read, read)) == []


def test_time_that_the_host_took_is_found_whether_it_was_now_or_earlier() -> None:
    quiet, now = counters(stolen=0, ticks=1000), counters(stolen=50, ticks=2000)
    (one,) = kernel_checks.grown(quiet, now)
    assert one.level == "spoils"
    assert "5.0 % during this check, 2.5 % since it was started" in one.text
    (one,) = kernel_checks.grown(now, counters(stolen=50, ticks=2100))
    assert one.level == "spoils"
    (one,) = kernel_checks.grown(quiet, counters(stolen=1, ticks=2000))
    assert one.level == "ok"


def test_heat_spoils_figures_only_while_it_lasts() -> None:
    (now, _) = kernel_checks.grown(counters(throttled=3), counters(throttled=5))
    assert now.level == "spoils"
    assert "slowed 2 times during this check" in now.text
    (before, _) = kernel_checks.grown(counters(throttled=5), counters(throttled=5))
    assert before.level == "ok"
    assert "5 times since it was started, and not during this check" in before.text
