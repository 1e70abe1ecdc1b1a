"""The full system check: each finding says what is wrong and how to mend it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench.commands import doctor
from bench.host import doctor_checks, preflight
from bench.host.finding import Finding
from bench.host.listed_gpus import Gpu
from bench.host.probe import ProbeError
from bench.host.probed import Device, Probe
from tests.worker.process.test_limits import lay

CPU = Device(name="cpu", shown="a CPU")
CARD = Gpu("0", "NVIDIA H100", "550.54", 350.0, 700.0)
Found = Callable[..., list[Finding]]


def torch(
    *devices: Device, version: str = "2.13.0+cpu", compiler: str | None = "/bin/g++"
) -> Probe:
    return Probe(
        torch=version,
        torch_details={"compiler": compiler},
        devices={one.name: one for one in (CPU, *devices)},
        subjects={},
    )


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Findings of a machine without faults, but for what is given."""
    monkeypatch.setattr("bench.host.environment.no_commit", lambda _: None)
    monkeypatch.setattr("bench.host.environment.affinity", lambda: 2)

    def one(
        files: dict[str, str] | None = None,
        probe: Probe | None = None,
        variables: dict[str, str] | None = None,
        gpus: tuple[Gpu, ...] = (),
        disturbed: tuple[str, ...] = (),
    ) -> list[Finding]:
        lay(tmp_path, files or {})
        places = preflight.KernelFolders(tmp_path / "proc", tmp_path / "sys", tmp_path / "groups")
        return list(
            doctor_checks.findings(
                lambda: probe or torch(Device(name="cuda:0", shown="NVIDIA H100")),
                places,
                variables or {},
                tmp_path,
                lambda: list(gpus),
                lambda: list(disturbed),
            )
        )

    return one


def odd(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.level != "ok"]


def test_a_machine_without_faults_has_none(found: Found) -> None:
    assert odd(found()) == []


def test_what_the_system_check_of_a_run_warns_of_is_told_with_its_remedy(found: Found) -> None:
    (one,) = odd(found(disturbed=("the machine runs on its battery: plug it in",)))
    assert one == Finding("spoils", "the machine runs on its battery", "plug it in")


@pytest.mark.parametrize(
    ("file", "text", "mend"),
    [
        ("intel_pstate/no_turbo", "0\n", "echo 1 | sudo tee"),
        ("cpufreq/boost", "1\n", "echo 0 | sudo tee"),
    ],
)
def test_a_boosted_clock_rate_is_found(found: Found, file: str, text: str, mend: str) -> None:
    (one,) = odd(found({f"sys/devices/system/cpu/{file}": text}))
    assert one.level == "spoils"
    assert str(one.mend).startswith(mend)
    assert file in str(one.mend)


def test_a_clock_that_is_slow_to_read_is_found(found: Found) -> None:
    file = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert odd(found({file: "tsc\n"})) == []
    (one,) = odd(found({file: "hpet\n"}))
    assert "hpet" in one.text


def test_variables_that_set_another_number_of_threads_are_found(found: Found) -> None:
    assert odd(found(variables={"OMP_NUM_THREADS": "2"})) == []
    (one,) = odd(found(variables={"OMP_NUM_THREADS": "1"}))
    assert one.text == "OMP_NUM_THREADS=1 sets the threads of torch; 2 processors may be used"


def two_cores_of_two(quota: str = "max 100000\n") -> dict[str, str]:
    """Four processors; a control group with this quota."""
    siblings = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    files = {siblings.format(one): f"{one % 2},{one % 2 + 2}\n" for one in range(4)}
    return {**files, "proc/self/cgroup": "0::/\n", "groups/cpu.max": quota}


def with_threads(count: int) -> Probe:
    probe = torch(Device(name="cuda:0", shown="NVIDIA H100"))
    return dataclasses.replace(probe, torch_details={**probe.torch_details, "threads": count})


def test_threads_that_torch_takes_by_itself_spoil_nothing_where_each_has_a_core(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.host.environment.processors_allowed", lambda: [0, 1, 2, 3])
    assert odd(found(two_cores_of_two(), with_threads(2))) == []
    (one,) = odd(found(two_cores_of_two(), with_threads(4)))
    assert one == Finding(
        "spoils", "4 processors are 2 cores (SMT)", "use at most 2 threads (--threads 2)"
    )


@pytest.mark.parametrize(("count", "spoils"), [("4", 0), ("2", 0), ("1", 0), ("3", 1)])
def test_a_variable_that_sets_a_thread_for_each_core_or_for_the_quota_is_right(
    found: Found, monkeypatch: pytest.MonkeyPatch, count: str, spoils: int
) -> None:
    monkeypatch.setattr("bench.host.environment.affinity", lambda: 4)
    monkeypatch.setattr("bench.host.environment.processors_allowed", lambda: [0, 1, 2, 3])
    files = two_cores_of_two(quota="150000 100000\n")
    asked = {"OMP_NUM_THREADS": count}
    assert len(odd(found(files, with_threads(1), variables=asked))) == spoils


def test_a_missing_compiler_is_named_with_what_it_is_for(found: Found) -> None:
    card = Device(name="cuda:0", shown="a card")
    (one,) = odd(found(probe=torch(card, compiler=None)))
    assert (one.level, one.text) == (
        "lacks",
        "no C++ compiler: torch.compile cannot work on the CPU",
    )


def test_a_variable_that_names_no_compiler_is_named(found: Found) -> None:
    card = Device(name="cuda:0", shown="a card")
    (one,) = odd(found(probe=torch(card, compiler=None), variables={"CXX": "g++-99"}))
    assert one.mend == "unset CXX, which is 'g++-99', or let it name a C++ compiler"


def test_a_gpu_on_which_nothing_can_be_compiled_is_named_once_with_what_to_install(
    found: Found,
) -> None:
    cards = [
        Device(
            name=f"cuda:{index}",
            shown="a card",
            compile_lacks="torch.compile needs a C compiler on a GPU",
            compile_mend="install gcc",
        )
        for index in range(2)
    ]
    (one,) = odd(found(probe=torch(*cards)))
    assert (one.level, one.text, one.mend) == (
        "lacks",
        "torch.compile needs a C compiler on a GPU",
        "install gcc",
    )


def test_a_gpu_that_torch_does_not_find_is_told_apart_from_no_gpu(found: Found) -> None:
    (one,) = odd(found(probe=torch(version="2.13.0+cpu"), gpus=()))
    assert one.text == "no accelerator: figures are of the CPU alone"
    first, *_ = odd(found(probe=torch(version="2.13.0+cpu"), gpus=(CARD,)))
    assert first.text == (
        "NVIDIA's driver 550.54 lists NVIDIA H100, and torch 2.13.0+cpu is built without CUDA"
    )
    first, *_ = odd(found(probe=torch(version="2.13.0+cu130"), gpus=(CARD,)))
    assert first.text.endswith("torch 2.13.0+cu130 does not find it")


@pytest.mark.parametrize("value", ["", "-1", "7", "GPU-ff", "NoDevFiles"])
def test_a_gpu_that_a_variable_hides_needs_no_other_torch(found: Found, value: str) -> None:
    probe = dataclasses.replace(
        torch(version="2.13.0+cu130"), torch_details={"compiler": "/bin/g++", "cuda": "13.0"}
    )
    (one,) = odd(found(probe=probe, gpus=(CARD,), variables={"CUDA_VISIBLE_DEVICES": value}))
    assert one == Finding(
        "lacks",
        "NVIDIA's driver 550.54 lists NVIDIA H100, and torch 2.13.0+cu130 does not see it, because "
        f"CUDA_VISIBLE_DEVICES is {value!r}",
        "unset CUDA_VISIBLE_DEVICES, or give it numbers or UUIDs of nvidia-smi -L",
    )


def test_a_torch_of_any_packager_without_cuda_is_told(found: Found) -> None:
    probe = dataclasses.replace(
        torch(version="2.13.0"), torch_details={"compiler": "/bin/g++", "cuda": None}
    )
    first, *_ = odd(found(probe=probe, gpus=(CARD,), variables={"CUDA_VISIBLE_DEVICES": ""}))
    assert first.text.endswith("torch 2.13.0 is built without CUDA")


def test_a_cap_of_a_gpu_that_is_hidden_spoils_nothing(found: Found) -> None:
    gpus = (card(index="0"), card(power_limit_w=350.0))
    assert odd(found(gpus=gpus, variables={"CUDA_VISIBLE_DEVICES": "0"})) == []
    (one,) = odd(found(gpus=gpus, variables={"CUDA_VISIBLE_DEVICES": "1"}))
    assert one.text.startswith("GPU 1 is capped")


def test_why_torch_finds_no_gpu_is_told_where_it_is_built_for_one(found: Found) -> None:
    why = "CUDA_VISIBLE_DEVICES='' hides the GPU: unset it, or name a GPU that exists"
    probe = dataclasses.replace(
        torch(version="2.13.0+cu130"),
        torch_details={"compiler": "/bin/g++", "cuda": "13.0"},
        no_gpu=why,
    )
    first, *_ = odd(found(probe=probe, gpus=(card(driver="580.1"),)))
    assert first.text.endswith("torch 2.13.0+cu130 does not find it")
    assert first.mend == why
    (one,) = odd(found(probe=probe))
    assert one.mend == why
    for_cpu = dataclasses.replace(torch(version="2.13.0+cpu"), no_gpu="is built for the CPU alone")
    (one,) = odd(found(probe=for_cpu))
    assert one.mend is None


def test_a_capped_gpu_is_found(found: Found) -> None:
    (one,) = odd(found(gpus=(CARD,)))
    assert one == Finding(
        "spoils", "GPU 0 is capped at 350 W of 700 W", "sudo nvidia-smi -i 0 -pl 700"
    )
    assert odd(found(gpus=(Gpu("0", "a card", "1", None, 700.0),))) == []


def card(**changes: Any) -> Gpu:
    return dataclasses.replace(Gpu("1", "a card", "580.1", 700.0, 700.0), **changes)


def test_a_gpu_that_is_set_as_it_should_be_has_no_findings(found: Found) -> None:
    well = card(
        persistence=True, compute_mode="Default", ecc="Enabled", ecc_pending="Enabled", ecc_errors=0
    )
    assert odd(found(gpus=(well,))) == []


@pytest.mark.parametrize(
    ("changes", "level", "words", "mend"),
    [
        (
            {"compute_mode": "Exclusive_Process"},
            "lacks",
            "GPU 1 serves one process at a time (EXCLUSIVE_PROCESS): bench ab",
            "sudo nvidia-smi -i 1 -c DEFAULT",
        ),
        (
            {"compute_mode": "Prohibited"},
            "lacks",
            "GPU 1 serves no process (compute mode PROHIBITED)",
            "sudo nvidia-smi -i 1 -c DEFAULT",
        ),
        (
            {"persistence": False},
            "lacks",
            "GPU 1 has its persistence mode off",
            "sudo nvidia-smi -i 1 -pm 1",
        ),
        (
            {"ecc_errors": 3},
            "spoils",
            "GPU 1 could not correct 3 errors of its memory",
            "look at nvidia-smi -i 1 -q -d ECC",
        ),
        (
            {"ecc": "Disabled", "ecc_pending": "Enabled"},
            "spoils",
            "ECC of GPU 1 is disabled and will be enabled after a restart",
            "restart the machine",
        ),
    ],
)
def test_how_a_gpu_is_set_is_found_with_its_remedy(
    found: Found, changes: dict[str, Any], level: str, words: str, mend: str
) -> None:
    (one,) = odd(found(gpus=(card(**changes),)))
    assert one.level == level
    assert one.text.startswith(words)
    assert str(one.mend).startswith(mend)


def test_a_driver_that_is_too_old_for_torchs_cuda_is_named_with_the_one_it_needs(
    found: Found,
) -> None:
    probe = dataclasses.replace(
        torch(version="2.13.0+cu130"), torch_details={"compiler": "/bin/g++", "cuda": "13.0"}
    )
    (one,) = odd(found(probe=probe, gpus=(card(driver="550.54"),)))
    assert one.text == (
        "NVIDIA's driver 550.54 lists a card, and torch 2.13.0+cu130 needs driver 580 or newer for "
        "its CUDA 13"
    )
    (one,) = odd(found(probe=probe, gpus=(card(driver="580.1"),)))
    assert one.text.endswith("torch 2.13.0+cu130 does not find it")


def test_without_torch_the_check_says_so_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.host.environment.no_commit", lambda _: None)

    def broken() -> Probe:
        raise ProbeError("no module named torch")

    *_, last = doctor_checks.findings(
        broken, preflight.KernelFolders(tmp_path, tmp_path, tmp_path), {}, tmp_path, list, list
    )
    assert last.level == "spoils"
    assert last.text == "torch cannot be used: no module named torch"


@pytest.mark.parametrize(
    ("why", "mend"),
    [
        ("the probe of torch ended with exit code 1: ModuleNotFoundError: No module named 'torch'",
         "install torch for this Python"),
        ("/tmp/bench-probe-x: No space left on device; make room there", None),
        ("importing torch took more than 120 s; end other work", None),
    ],
)  # fmt: skip
def test_torch_is_to_be_installed_only_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, mend: str | None
) -> None:
    monkeypatch.setattr("bench.host.environment.no_commit", lambda _: None)

    def broken() -> Probe:
        raise ProbeError(why)

    *_, last = doctor_checks.findings(
        broken, preflight.KernelFolders(tmp_path, tmp_path, tmp_path), {}, tmp_path, list, list
    )
    assert last == Finding("spoils", f"torch cannot be used: {why}", mend)


@pytest.mark.parametrize(
    ("why", "mend"),
    [
        ("git is not installed", "install git, and run in a git repository"),
        ("this is not a git repository", "run in a git repository"),
        ("the repository has no commit yet", "commit the code first"),
        ("the repository /x belongs to another user; if you trust it: git config", ""),
    ],
)
def test_a_commit_that_is_not_known_has_the_remedy_of_its_own_reason(
    found: Found, monkeypatch: pytest.MonkeyPatch, why: str, mend: str
) -> None:
    monkeypatch.setattr("bench.host.environment.no_commit", lambda _: why)
    (one,) = odd(found())
    assert one.text == f"no commit is stored beside the figures: {why}"
    assert str(one.mend or "").startswith(mend)
    assert (one.mend is None) == (not mend)


def test_a_disk_that_is_full_is_found(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=5 * 10**7)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    (one,) = odd(found())
    assert one.text.startswith("50.0 MB are free in ")


@pytest.mark.parametrize(
    ("spoils", "lacks", "text"),
    [
        (0, 0, "nothing here spoils figures"),
        (1, 0, "1 thing spoils figures here"),
        (2, 1, "2 things spoil figures here; 1 thing is missing"),
        (0, 2, "nothing here spoils figures; 2 things are missing"),
    ],
)
def test_the_last_line_counts(spoils: int, lacks: int, text: str) -> None:
    assert doctor.summary(spoils, lacks) == text


def test_the_exit_code_says_whether_something_spoils_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = Console(record=True, width=100, color_system=None)
    lines = [Finding("ok", "fine"), Finding("lacks", "no \x1b compiler", "install one")]
    monkeypatch.setattr("bench.host.doctor_checks.findings", lambda _: iter(lines))
    assert doctor.run(console) == 0
    monkeypatch.setattr(
        "bench.host.doctor_checks.findings", lambda _: iter([Finding("spoils", "load")])
    )
    assert doctor.run(console) == 1
    shown = console.export_text().splitlines()
    assert shown[:3] == ["ok      fine", "lacks   no ? compiler", "        install one"]
