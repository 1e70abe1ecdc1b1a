"""Starts a unit on a node.  This runs inside a worker of Ray, and needs only Python's own modules.

A worker of Ray is no place to measure: it runs at nice 15 with OMP_NUM_THREADS = 1, and it has
twenty threads.  So a process of its own is started in the environment that `ray start` had.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TAIL = 2000  # characters of the error output, in a message


def launch(request: str) -> str:
    """Run a unit to its end, and return its answer as JSON.

    request: JSON with `command`, after the interpreter, and `input` for its standard input.
    """
    asked = json.loads(request)
    with tempfile.TemporaryDirectory(prefix="bench-unit-") as folder:
        out, errors = Path(folder) / "answer.json", Path(folder) / "errors"
        given = {**asked["input"], "out": str(out), "parent": os.getpid()}
        with errors.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, *asked["command"]],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment(os.getppid(), dict(os.environ)),
            )
            try:
                process.communicate(json.dumps(given).encode())
            finally:
                process.kill()
                process.wait()
        if out.exists():
            return out.read_text(encoding="utf-8")
        told = errors.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
        last = (told.splitlines() or ["no error output"])[-1]
        return json.dumps({"error": f"ended with exit code {process.returncode}: {last}"})


def environment(raylet: int, own: dict[str, str]) -> dict[str, str]:
    """Return the variables that the user gave to `ray start`.

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
    return {name: value for name, value in found.items() if not name.startswith("RAY_")}
