"""The missing tools of torch.compile on made-up machines."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.worker import case_process, probe
from bench.worker.model import compile_tools
from bench.worker.model.compile_tools import Tools, lacking
from bench.worker.model.torch_compile import CompileUnavailable, compile_module

WHOLE = Tools(cxx="/bin/g++", cc="/bin/gcc", python_h=True, triton=True)
HOPPER, PASCAL = (9, 0), (6, 1)


@pytest.mark.parametrize(
    ("lost", "mend"),
    [
        ({"cc": None}, "install gcc"),
        ({"python_h": False}, "install python3-dev (Python.h)"),
        ({"triton": False}, "pip install triton"),
    ],
)
@pytest.mark.parametrize("type_", ["cuda", "xpu"])
def test_a_gpu_needs_triton_and_what_triton_builds_with(
    type_: str, lost: dict[str, bool | None], mend: str
) -> None:
    capability = HOPPER if type_ == "cuda" else None
    assert lacking(type_, WHOLE, capability) is None
    lacks = lacking(type_, dataclasses.replace(WHOLE, **lost), capability)  # type: ignore[arg-type]
    assert lacks is not None
    assert lacks.mend.startswith(mend)


def test_a_gpu_that_is_too_old_for_triton_is_told_before_anything_is_installed_for_it() -> None:
    lacks = lacking("cuda", dataclasses.replace(WHOLE, triton=False, cc=None), PASCAL)
    assert lacks is compile_tools.TOO_OLD
    assert lacking("cuda", WHOLE, (7, 0)) is None


def test_a_cpu_needs_a_cxx_compiler_and_nothing_that_a_gpu_needs() -> None:
    bare = Tools(cxx="/bin/g++", cc=None, python_h=False, triton=False)
    assert lacking("cpu", bare, None) is None
    lacks = lacking("cpu", dataclasses.replace(WHOLE, cxx=None), None)
    assert lacks is not None
    assert lacks.mend.startswith("install g++")


def test_a_device_that_inductor_has_no_triton_for_needs_none() -> None:
    assert lacking("mps", Tools(cxx=None, cc=None, python_h=False, triton=False), None) is None


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("RuntimeError: Failed to find C compiler. Please specify via CC", "install gcc"),
        ("TritonMissing: Cannot find a working triton installation. Either", "pip install triton"),
        ("main.c:5:10: fatal error: Python.h: No such file or directory", "install python3-dev"),
        ("Found GTX 1080 which is too old to be supported by the triton GPU compiler", "leave"),
        ("InvalidCxxCompiler: No working C++ compiler found in config", "install g++"),
    ],
)
def test_what_torch_finds_missing_itself_is_unsupported_and_names_the_package(
    text: str, mend: str
) -> None:
    status, reason = case_process.describe(RuntimeError(text))
    assert status == "unsupported"
    assert mend in reason


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a single program; the folder in which it looks for them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def install(folder: Path, name: str) -> None:
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)


def test_the_compilers_are_those_that_inductor_and_triton_would_take(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (compile_tools.tools().cxx, compile_tools.tools().cc) == (None, None)
    install(bare, "clang")
    install(bare, "clang++")
    assert compile_tools.tools().cc == str(bare / "clang")
    monkeypatch.setattr("sys.platform", "linux")
    assert compile_tools.tools().cxx is None
    monkeypatch.setattr("sys.platform", "darwin")
    assert compile_tools.tools().cxx == str(bare / "clang++")
    monkeypatch.setenv("CXX", "clang++")
    monkeypatch.setattr("sys.platform", "linux")
    assert compile_tools.tools().cxx == str(bare / "clang++")
    install(bare, "g++")
    for name in ("CC", "CXX"):
        monkeypatch.setenv(name, "no-such-compiler")  # triton and inductor take no other then
    assert (compile_tools.tools().cxx, compile_tools.tools().cc) == (None, None)


def test_python_h_and_triton_are_looked_for_where_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_paths", lambda *_: {"include": str(tmp_path)})
    assert not compile_tools.tools().python_h
    (tmp_path / "Python.h").write_text("")
    assert compile_tools.tools().python_h
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compile_tools.tools().triton


def a_gpu(monkeypatch: pytest.MonkeyPatch, *, available: bool) -> None:
    """torch as it is built with CUDA."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: HOPPER)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    found = torch.device("cuda") if available else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: found)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: int(available))


@pytest.mark.parametrize("built", ["cpu", "cuda"])
def test_without_a_gpu_nothing_of_one_is_missing(
    bare: Path, monkeypatch: pytest.MonkeyPatch, built: str
) -> None:
    if built == "cuda":
        a_gpu(monkeypatch, available=False)
    install(bare, "g++")
    assert [one.compile_lacks for one in probe.devices()] == [None] * len(probe.devices())
    assert isinstance(compile_module(nn.Linear(2, 2), "default", "cpu"), nn.Module)


@pytest.mark.usefixtures("bare")
def test_a_gpu_without_a_compiler_is_named_by_the_probe_and_by_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_gpu(monkeypatch, available=True)
    monkeypatch.setattr(compile_tools, "_has_triton", lambda: True)
    monkeypatch.setattr(probe, "gpu_details", lambda _: None)
    (_, card) = probe.devices()
    assert card.compile_mend == "install gcc (Debian, Ubuntu: apt-get install gcc)"
    with pytest.raises(CompileUnavailable, match="install gcc") as caught:
        compile_module(nn.Linear(2, 2), "default", "cuda:0")
    assert case_process.describe(caught.value)[0] == "unsupported"
