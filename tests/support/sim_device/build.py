"""Builds the simulated accelerator and installs it as a user would install a backend.

A folder on PYTHONPATH then holds the package `sim_device`, its library, and the entry point
`torch.backends`, by which `import torch` loads it in every process.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch.utils import cpp_extension

HERE = Path(__file__).parent
LIBRARY = "sim.so"
SOURCES = sorted((HERE / "csrc").iterdir())
BACKEND = HERE / "backend.py"
BUILD_S = 900.0


# Where torch takes the profiler of a backend outside it: there is none in 2.11.
PROFILER = "torch/csrc/profiler/standalone/privateuse1_profiler.h"


class BuildError(Exception):
    """The compiler failed, or there is none; the message has its words."""


def installed(cache: Path | None = None) -> Path:
    """The folder for PYTHONPATH; built where nothing of this torch, source and compiler is there.

    cache: a folder for all builds; by default one of the user's, as torch's own extensions have.
    Raises BuildError.
    """
    compiler = os.environ.get("CXX", "g++")
    place = (cache or _cache()) / f"sim_device-{_key(compiler)}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place.parent))
        try:
            _install(made, compiler)
            # Tests that run at the same time build the same; the first to be ready counts.
            made.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return place


def has_profiler() -> bool:
    """Whether this torch has a place for the backend's profiler (csrc/profiler.h)."""
    return any((Path(folder) / PROFILER).is_file() for folder in cpp_extension.include_paths())


def _cache() -> Path:
    given = os.environ.get("SIM_DEVICE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "convnet-bench"


def _key(compiler: str) -> str:
    """Return a digest of everything that decides what is built."""
    try:
        version = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"the compiler {compiler} does not start: {error}") from error
    digest = hashlib.sha256(f"{torch.__version__} {sys.version} {version}".encode())
    for file in (*SOURCES, BACKEND, Path(__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _install(place: Path, compiler: str) -> None:
    package, info = place / "sim_device", place / "sim_device-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sim-device\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[torch.backends]\nsim = sim_device:autoload\n")
    shutil.copy(BACKEND, package / "__init__.py")
    _compile(package / LIBRARY, compiler)


def _compile(library: Path, compiler: str) -> None:
    """One call of the compiler: no ninja is needed, and no Python header."""
    folders, headers = cpp_extension.library_paths(), cpp_extension.include_paths()
    command = [
        compiler,
        *("-shared", "-fPIC", "-std=c++20", "-O1", "-w"),
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        # As torch itself is built; its header of profilers names kineto's without their folder.
        *("-DUSE_KINETO", "-DKINETO_NAMESPACE=libkineto", "-DFMT_HEADER_ONLY=1"),
        *(f"-I{folder}" for folder in headers),
        *(f"-I{folder}/kineto" for folder in headers),
        str(HERE / "csrc" / "sim.cpp"),
        *(f"-L{folder}" for folder in folders),
        *(f"-Wl,-rpath,{folder}" for folder in folders),
        *("-ltorch_cpu", "-lc10"),
        *("-o", str(library)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S)
    if done.returncode:
        raise BuildError(f"{compiler} failed:\n{done.stderr[:4000]}")


if __name__ == "__main__":
    sys.stdout.write(f"{installed()}\n")
