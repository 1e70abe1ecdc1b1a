"""The tools that torch.compile needs beside torch: inductor writes C++ for a CPU, triton for a GPU.

triton builds its launcher with a C compiler against the headers of Python
(triton/runtime/build.py).  An image that only runs programs often lacks both.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bench.worker.device import cuda

WITH_TRITON = ("cuda", "xpu")
LEAST_CAPABILITY = (7, 0)  # of triton (torch/_inductor/scheduler.py, GPUTooOldForTriton)


@dataclass(frozen=True, slots=True)
class Missing:
    """A missing tool, and how to get it."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools that are installed beside torch."""

    cxx: str | None  # C++ compiler
    cc: str | None  # C compiler
    python_h: bool
    triton: bool


NO_CXX = Missing(
    "torch.compile needs a C++ compiler on a CPU",
    "install g++ (Debian, Ubuntu: apt-get install g++); CXX has to name a compiler, if it is set",
)
NO_CC = Missing(
    "torch.compile needs a C compiler on a GPU, with which triton builds its launcher",
    "install gcc (Debian, Ubuntu: apt-get install gcc)",
)
NO_PYTHON_H = Missing(
    "torch.compile needs Python.h on a GPU, with which triton builds its launcher",
    "install python3-dev (Python.h) of this Python (Debian, Ubuntu: apt-get install "
    f"python{sys.version_info.major}.{sys.version_info.minor}-dev)",
)
NO_TRITON = Missing(
    "torch.compile needs triton on a GPU, and finds none that it can use",
    "pip install triton, in the version that this torch asks for",
)
TOO_OLD = Missing(
    "torch.compile needs triton on a GPU, and this GPU is too old for it: its compute capability "
    f"is below {LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}",
    "leave compile=off",
)
# Messages of torch and triton for tools whose lack the look beforehand did not show.
SAID = {
    "No working C++ compiler found": NO_CXX,
    "Failed to find C compiler": NO_CC,
    "Python.h: No such file": NO_PYTHON_H,
    "Cannot find a working triton installation": NO_TRITON,
    "too old to be supported by the triton GPU compiler": TOO_OLD,
}


def missing(device: str) -> Missing | None:
    """Return what torch.compile lacks on this device of this machine, or None."""
    type_ = device.partition(":")[0]
    return lacking(type_, tools(), cuda.capability(device))


def lacking(type_: str, found: Tools, capability: tuple[int, int] | None) -> Missing | None:
    """Return the first missing tool, or None.

    type_:      of the device.
    capability: of an NVIDIA GPU; None: another device, or unknown.
    """
    if type_ == "cpu":
        return None if found.cxx else NO_CXX
    if type_ not in WITH_TRITON:
        return None
    if capability is not None and capability < LEAST_CAPABILITY:
        return TOO_OLD
    if not found.triton:
        return NO_TRITON
    if not found.cc:
        return NO_CC
    return None if found.python_h else NO_PYTHON_H


def named_in(text: str) -> Missing | None:
    """Return the missing tool that the text of an exception names, or None."""
    return next((lacks for words, lacks in SAID.items() if words in text), None)


def tools() -> Tools:
    """Return the tools of this machine."""
    return Tools(cxx=cxx(), cc=_cc(), python_h=_python_h().exists(), triton=_has_triton())


def cxx() -> str | None:
    """Return the C++ compiler that inductor would use, or None.

    It tries the one that CXX names and no other, else that of the system
    (torch/_inductor/config.py, `cpp.cxx`).
    """
    own = "clang++" if sys.platform == "darwin" else "g++"
    return _first(os.environ.get("CXX", own))


def _cc() -> str | None:
    """Return the C compiler that triton would use: the one that CC names, and no other then."""
    named = os.environ.get("CC")
    return _first(named) if named else _first("gcc", "clang")


def _first(*names: str | None) -> str | None:
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _python_h() -> Path:
    """Return the path of Python.h.  Debian's scheme has another folder; triton skips it, too."""
    scheme = sysconfig.get_default_scheme()
    paths = sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)
    return Path(paths["include"]) / "Python.h"


def _has_triton() -> bool:
    try:
        return importlib.util.find_spec("triton") is not None
    except (ImportError, ValueError):  # a module of that name that is none
        return False
