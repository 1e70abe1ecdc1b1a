"""The environment in which a fork server starts."""

import subprocess
from pathlib import Path

import pytest

from bench.engine.fork_server import ForkServer
from bench.host.wait_policy import WaitPolicy


class Started(Exception):  # noqa: N818 - what a process would have been given
    """In place of starting it."""


@pytest.mark.parametrize(
    ("allocator", "thresholds", "tunables"),
    [
        (
            "retained",
            ["1073741824", "4294967296", "268435456"],
            "glibc.rtld.optional_static_tls=512:glibc.malloc.hugetlb=1",
        ),
        ("system", [None, None, None], "glibc.rtld.optional_static_tls=512"),
        (None, [None, None, None], "glibc.rtld.optional_static_tls=512"),
    ],
)
def test_the_allocator_is_set_before_its_process_starts_whatever_the_user_has_set(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allocator: str | None,
    thresholds: list[str | None],
    tunables: str,
) -> None:
    def start(*_: object, env: dict[str, str], **__: object) -> None:
        raise Started(env)

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    monkeypatch.setenv(
        "GLIBC_TUNABLES", "glibc.malloc.hugetlb=2:glibc.rtld.optional_static_tls=512"
    )
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as caught:
        ForkServer(allocator=allocator, modules=[], inductor=False, log=tmp_path / "log")
    (environment,) = caught.value.args
    names = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"]
    assert [environment.get(name) for name in names] == thresholds
    assert environment.get("GLIBC_TUNABLES") == tunables


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")])
def test_torch_asks_nvml_for_gpus_in_a_replicate_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, kept: str
) -> None:
    """CUDA's own answer begins its driver, after which no fork can use it."""

    def start(*_: object, env: dict[str, str], **__: object) -> None:
        raise Started(env)

    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    if given is not None:
        monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", given)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as caught:
        ForkServer(allocator=None, modules=[], inductor=True, log=tmp_path / "log")
    (environment,) = caught.value.args
    assert environment["PYTORCH_NVML_BASED_CUDA_CHECK"] == kept


@pytest.mark.parametrize("cpu_only", [True, False])
def test_accelerators_are_hidden_where_all_cases_are_on_the_cpu_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu_only: bool
) -> None:
    def start(*_: object, env: dict[str, str], **__: object) -> None:
        raise Started(env)

    users = {"CUDA_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": "1"}
    for name, value in users.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ONEAPI_DEVICE_SELECTOR", raising=False)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as caught:
        ForkServer(
            allocator=None, modules=[], inductor=False, log=tmp_path / "log", cpu_only=cpu_only
        )
    (environment,) = caught.value.args
    hidden = {
        "CUDA_VISIBLE_DEVICES": "",
        "HIP_VISIBLE_DEVICES": "-1",
        "ROCR_VISIBLE_DEVICES": "-1",
        "ONEAPI_DEVICE_SELECTOR": "!*:gpu",
    }
    expected = hidden if cpu_only else {**users, "ONEAPI_DEVICE_SELECTOR": None}
    assert {name: environment.get(name) for name in hidden} == expected


@pytest.mark.parametrize(
    ("policy", "own", "expected"),
    [
        ("default", {}, {}),
        ("passive", {}, {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}),
        ("passive", {"KMP_BLOCKTIME": "5"}, {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "5"}),
    ],
)
def test_waiting_threads_sleep_in_every_child_if_the_run_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: WaitPolicy,
    own: dict[str, str],
    expected: dict[str, str],
) -> None:
    def start(*_: object, env: dict[str, str], **__: object) -> None:
        raise Started(env)

    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started) as caught:
        ForkServer(
            allocator=None, modules=[], inductor=False, log=tmp_path / "log", wait_policy=policy
        )
    (environment,) = caught.value.args
    known = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")
    assert {name: environment[name] for name in known if name in environment} == expected
