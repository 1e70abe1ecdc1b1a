"""The surroundings that a run stores, and those that a resume needs unchanged."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.host import environment
from bench.host.environment import fixed_details, last_cache_bytes, suite_digest, variables


@pytest.mark.parametrize(
    "name",
    [
        "OMP_NUM_THREADS",
        "GLIBC_TUNABLES",
        "ATEN_CPU_CAPABILITY",
        "DNNL_MAX_CPU_ISA",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "TORCHDYNAMO_DISABLE",
        "MIOPEN_FIND_MODE",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_TF32_OVERRIDE",
        "NVIDIA_VISIBLE_DEVICES",
    ],
)
def test_what_changes_figures_is_kept(name: str) -> None:
    assert variables({name: "1"}, "/home/me") == {name: "1"}


@pytest.mark.parametrize(
    "name",
    ["NVIDIA_REQUIRE_CUDA", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_PRODUCT_NAME", "CUDA_VERSION",
     "CUDA_DRIVER_VERSION", "CUDNN_VERSION", "PYTORCH_BUILD_VERSION", "PYTORCH_BUILD_NUMBER",
     "NVIDIA_BUILD_ID", "CUDA_COMPONENT_LIST", "NVIDIA_PYTORCH_VERSION"],
)  # fmt: skip
def test_what_an_image_says_of_itself_is_left_out(name: str) -> None:
    assert variables({name: "cuda>=13.0 brand=tesla,driver>=535,driver<536"}, "/home/me") == {}


@pytest.mark.parametrize(
    "name",
    ["TORCH_HOME", "CUDA_HOME", "CUDA_PATH", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "HOME", "PATH",
     "TORCH_TOKEN", "MY_OMP_THREADS"],
)  # fmt: skip
def test_what_changes_none_or_is_secret_is_left_out(name: str) -> None:
    assert variables({name: "/home/me/x"}, "/home/me") == {}


def test_no_value_tells_where_the_user_lives() -> None:
    given = {
        "LD_PRELOAD": "/home/me/lib/libjemalloc.so.2:/usr/lib/libnuma.so other.so",
        "MIOPEN_USER_DB_PATH": "/home/me/db",
    }
    assert variables(given, "/home/me") == {
        "LD_PRELOAD": "libjemalloc.so.2 libnuma.so other.so",
        "MIOPEN_USER_DB_PATH": "~/db",
    }
    assert variables({"KMP_AFFINITY": "a/b"}, "/") == {"KMP_AFFINITY": "a/b"}


def test_the_suites_own_code_is_known_by_its_files(tmp_path: Path) -> None:
    for folder in ("worker", "read"):
        (tmp_path / folder).mkdir()
    (tmp_path / "worker/one.py").write_text("one = 1\n")
    before = suite_digest(tmp_path)
    (tmp_path / "worker/__pycache__").mkdir()
    (tmp_path / "worker/__pycache__/one.pyc").write_bytes(b"compiled")
    (tmp_path / "read/plot.py").write_text("changes no figure\n")
    assert suite_digest(tmp_path) == before
    (tmp_path / "worker/one.py").write_text("one = 2\n")
    assert suite_digest(tmp_path) != before
    (tmp_path / "worker/one.py").rename(tmp_path / "worker/two.py")
    (tmp_path / "worker/two.py").write_text("one = 1\n")
    assert suite_digest(tmp_path) != before


@pytest.mark.slow
def test_a_run_knows_the_suite_it_was_measured_with() -> None:
    around = environment.environment()
    assert around["suite"] == suite_digest(Path(environment.__file__).parents[1])


MACHINE: dict[str, Any] = {
    "machine_id": "m1", "affinity": 1, "processors_allowed": [0], "quota_cores": None
}  # fmt: skip
H100: dict[str, Any] = {
    "driver": "580.159.04", "capability": "9.0", "memory_bytes": 85029158912,
    "power_limit_w": 700.0, "persistence": True, "mig": False,
}  # fmt: skip
AROUND: dict[str, Any] = {
    "torch": "2.13.0", "cudnn": 91900, "cpu_capability": "AVX2", "python": "3.11.7",
    "suite": "0123", "git_commit": "4567", "git_changes": None, "threads": 1, "variables": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "around", "what"),
    [
        ({"processors_allowed": [1]}, {}, "set of processors allowed"),
        ({}, {"cudnn": 92000}, "cuDNN"),
        ({}, {"cpu_capability": "AVX512"}, "instruction set"),
        ({}, {"suite": "89ab"}, "bench"),
        ({}, {"variables": {"LD_PRELOAD": "x.so"}}, "environment variable LD_PRELOAD"),
    ],
)
def test_figures_depend_on_it(machine: Any, around: Any, what: str) -> None:
    before = fixed_details(MACHINE, AROUND)
    now = fixed_details({**MACHINE, **machine}, {**AROUND, **around})
    assert [one for one in now if before.get(one) != now[one]] == [what]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"driver": "575.57"}, ["driver of cuda:0"]),
        ({"memory_bytes": 2**34}, ["memory of cuda:0"]),
        ({"power_limit_w": 400.0}, ["power limit of cuda:0"]),
        ({"mig": True}, ["MIG mode of cuda:0"]),
        ({"capability": "9.1"}, ["compute capability of cuda:0"]),
        ({"persistence": False}, []),
    ],
)
def test_figures_depend_on_how_a_gpu_is_set(change: dict[str, Any], what: list[str]) -> None:
    before = fixed_details({**MACHINE, "gpus": {"cuda:0": H100}}, AROUND)
    now = fixed_details({**MACHINE, "gpus": {"cuda:0": {**H100, **change}}}, AROUND)
    assert [one for one in now if before.get(one) != now[one]] == what


def test_which_processors_are_allowed_makes_no_other_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for allowed in ({0}, {1}, {0, 1}):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, allowed=allowed: allowed)
        found.append(environment.machine({}))
    assert [one["processors_allowed"] for one in found] == [[0], [1], [0, 1]]
    assert [one["affinity"] for one in found] == [1, 1, 2]
    assert len({one["machine_id"] for one in found}) == 1


def test_a_machine_without_git_is_told_that_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "git")

    monkeypatch.setattr("bench.host.git.asked", asked)
    assert environment.no_commit(tmp_path) == "git is not installed"
    assert environment.no_commit(tmp_path / "gone") == "git: No such file or directory"


GRAVITON = """\
processor\t: {number}
Features\t: fp asimd {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: {part}

"""


def arm(folder: Path, *cores: tuple[str, str]) -> Path:
    """/proc of a machine with these cores: part and features."""
    folder.mkdir()
    (folder / "cpuinfo").write_text(
        "".join(
            GRAVITON.format(number=number, part=part, features=features)
            for number, (part, features) in enumerate(cores)
        )
    )
    return folder


def test_arm_machines_of_one_size_are_told_apart_by_their_cores(tmp_path: Path) -> None:
    two = arm(tmp_path / "2", *[("0xd0c", "asimddp")] * 2)
    three = arm(tmp_path / "3", *[("0xd40", "asimddp sve bf16")] * 2)
    phone = arm(tmp_path / "phone", ("0xd05", ""), ("0xd0b", ""), ("0xfff", ""))
    names = [environment.cpu_model(one) for one in (two, three, phone)]
    assert names == ["Neoverse-N1", "Neoverse-V1", "ARM 0x41 0xfff, Cortex-A55, Cortex-A76"]
    found = [environment.machine({}, one) for one in (two, three, phone)]
    assert [one["cpu_flags"] for one in found[:2]] == [["asimddp"], ["asimddp", "bf16", "sve"]]
    assert len({one["machine_id"] for one in found}) == 3


def test_a_processor_that_linux_names_has_that_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 bmi\n"
    )
    found = environment.machine({}, tmp_path)
    assert (found["cpu_model"], found["cpu_flags"]) == ("Intel(R) Xeon(R)", ["avx2"])


@pytest.mark.slow
def test_a_difference_is_the_same_whatever_shows_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "net.py").write_text("one\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    (tmp_path / "net.py").write_text("two\n")
    before = environment.git_state(tmp_path)
    assert before["git_dirty"]
    (tmp_path / ".git/info").mkdir(exist_ok=True)
    (tmp_path / ".git/info/attributes").write_text("*.py diff=own\n")
    git("config", "diff.own.textconv", "echo")
    assert environment.git_state(tmp_path) == before
    git("config", "diff.external", "echo")
    assert environment.git_state(tmp_path) == before


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
