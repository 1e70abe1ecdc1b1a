"""A replicate: one fresh interpreter that imports torch once and forks a child a case.

It reads requests, a line of JSON each, from standard input, and answers each with one line
when the child has ended.  It blocks meanwhile, and never does tensor arithmetic: a child
forked after one OpenMP operator in its parent hangs for ever.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
import torch._dynamo  # the first torch.optim.SGD() would import it in every child: 2 s

from bench.worker import child, limits, state
from bench.worker.request import Request


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what imports print must not look like an answer
    hello = json.loads(sys.stdin.readline())
    limits.die_with_parent()
    limits.adopt_orphans()
    switches = state.switches()  # before a subject can turn any
    fork = _import(hello["modules"], inductor=hello["inductor"]) and hello["fork"]
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page of the imports
    _answer(answers, {"ready": True, "fork": fork})
    for line in iter(sys.stdin.readline, ""):
        fields = {**json.loads(line), "switches": switches}
        start = time.perf_counter()
        ended = _forked(fields) if fork else _spawned(fields)
        if ended.get("poisoned"):
            fork = False
            ended = _spawned(fields)
        _end_what_is_left()
        _answer(answers, ended | {"wall_s": time.perf_counter() - start})


def _answer(answers: Any, what: Mapping[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def _import(modules: Sequence[str], *, inductor: bool) -> bool:
    """Import once what every child needs.  Whether forking is still safe afterwards."""
    if not hasattr(os, "fork") or not sys.platform.startswith("linux"):
        return False
    if inductor:
        importlib.import_module("torch._inductor.compile_fx")
    threads = _threads()
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:  # the child says so in its row
            print(f"{module}: {type(error).__name__}: {error}", file=sys.stderr)
    return _threads() == threads and not _device_alive()


def _threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return threading.active_count()


def _device_alive() -> bool:
    return any(
        bool(getattr(getattr(torch, name, None), "is_initialized", lambda: False)())
        for name in ("cuda", "xpu")
    )


def _forked(fields: Mapping[str, Any]) -> dict[str, Any]:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            _become_child(fields)
            if _device_poisoned(fields["case"]["device"]):
                code = 71
            else:
                child.run(Request.of(fields))
                code = 0
        except BaseException:  # nothing of the child may run on in this interpreter
            with contextlib.suppress(OSError, ValueError):
                traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):  # a subject may have closed them
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    status = _wait(pid, fields["timeout_s"])
    return _how(status) | ({"poisoned": True} if status == 71 << 8 else {})


def _become_child(fields: Mapping[str, Any]) -> None:
    """A session, streams and limits of its own."""
    os.setsid()
    limits.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(fields["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)  # the pipe to the runner above all
    case = fields["case"]
    limits.bound(on_cpu=case["device"] == "cpu", compiles=case["compile"] != "off")


def _device_poisoned(device: str) -> bool:
    """A forked child of a process that initialised CUDA cannot use it."""
    module = getattr(torch, device.partition(":")[0], None)
    return bool(getattr(module, "_is_in_bad_fork", lambda: False)())


def _wait(pid: int, timeout_s: float) -> int:
    """The child's wait status; it is ended at its limit.  Blocks: no polling beside a timing."""
    handle = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([handle], [], [], timeout_s)
        if not ready:
            _end_session(pid)
            os.waitpid(pid, 0)
            return -1
    finally:
        os.close(handle)
    _, status = os.waitpid(pid, 0)
    return status


def _how(status: int) -> dict[str, Any]:
    if status == -1:
        return {"end": "timeout"}
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return {"end": "signal", "signal": signal.Signals(-code).name}
    return {"end": "exit", "code": code}


def _spawned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same in a fresh interpreter: where forks do not work."""
    with Path(fields["log"]).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker.child"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(dict(fields)).encode(), timeout=fields["timeout_s"])
        except subprocess.TimeoutExpired:
            _end_session(process.pid)
            process.wait()
            return {"end": "timeout"}
    if process.returncode < 0:
        return {"end": "signal", "signal": signal.Signals(-process.returncode).name}
    return {"end": "exit", "code": process.returncode}


def _end_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _end_what_is_left() -> None:
    """Processes that a subject left running: as subreaper they are ours."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main()
