"""Starts a unit on a node.  This runs inside a worker of Ray, and needs only Python's own modules.

A worker of Ray is no place to measure: it runs at nice 15 with OMP_NUM_THREADS = 1, and it has
twenty threads.  So a process of its own is started in the environment that `ray start` had.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TAIL = 2000  # characters of the error output, in a message
PRELOAD = "LD_PRELOAD"
LOOK_S = 1.0  # between two looks at the raylet


def launch(request: str) -> str:
    """Run a unit to its end, and return its answer as JSON.

    request: JSON with `command`, after the interpreter, and `input` for its standard input.
    """
    asked = json.loads(request)
    with tempfile.TemporaryDirectory(prefix="bench-unit-") as folder:
        out, errors = Path(folder) / "answer.json", Path(folder) / "errors"
        raylet = os.getppid()
        given = Path(folder) / "request.json"
        content = {**asked["input"], "out": str(out), "parent": os.getpid()}
        given.write_text(json.dumps(content), encoding="utf-8")
        with given.open("rb") as request_file, errors.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, *asked["command"]],
                stdin=request_file,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment(raylet, dict(os.environ)),
            )
            wait_while(process, lambda: os.getppid() == raylet)
        if out.exists():
            return out.read_text(encoding="utf-8")
        told = errors.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
        last = (told.splitlines() or ["no error output"])[-1]
        return json.dumps({"error": f"ended with exit code {process.returncode}: {last}"})


def wait_while(process: "subprocess.Popen[bytes]", there: Callable[[], bool]) -> None:
    """Wait for the end of a process, and end it when the raylet is gone.

    A worker may outlive its raylet.  Its unit would then measure beside the one that replaces it.
    """
    try:
        while there():
            try:
                process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                continue
            return
    finally:
        process.kill()
        process.wait()


def environment(raylet: int, own: dict[str, str]) -> dict[str, str]:
    """Return the variables that the user gave to `ray start`.

    What Ray adds for its own processes is left out, above all `LD_PRELOAD` with its jemalloc: with
    this allocator calls of the ConvNet took 0.89 to 1.13 times as long as without.

    raylet: the parent of the worker, whose environment has what the user set.  If it cannot be
    read, that of the worker is cleaned.
    """
    try:
        pairs = Path(f"/proc/{raylet}/environ").read_bytes().split(b"\0")
        is_raylet = Path(f"/proc/{raylet}/comm").read_text(encoding="utf-8").strip() == "raylet"
        told = [os.fsdecode(one).partition("=") for one in pairs if one]
    except OSError:
        is_raylet = False
    if is_raylet:
        found = {name: value for name, _, value in told}
    else:
        found = {name: value for name, value in own.items() if name != "OMP_NUM_THREADS"}
    if preloaded := _without_ray(found.pop(PRELOAD, "")):
        found[PRELOAD] = preloaded
    return {name: value for name, value in found.items() if not name.startswith("RAY_")}


def _without_ray(preloaded: str) -> str:
    """Return the libraries that are not Ray's own; their separators are blanks and colons."""
    return ":".join(one for one in re.split("[ :]+", preloaded) if "/ray/core/" not in one)
