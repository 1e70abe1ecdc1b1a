"""Start the fork servers of the first round while the probe still looks.

The configuration tells which ones, as if there were no accelerator.  They import torch meanwhile;
modules of the user come after the probe.  The run takes the fork servers over if its plan needs the
same ones, and ends them if it needs others.
"""

import contextlib
import itertools
import os
import platform
import sys
import tempfile
import threading
from pathlib import Path

from bench.core.errors import UserError
from bench.core.records import Case
from bench.core.subject import parse
from bench.engine.run_estimate import rounds
from bench.engine.workers import Starting, WorkerPool
from bench.host import allocators
from bench.host.probed import Device, Probe, SubjectFound
from bench.plan import expand
from bench.plan.config import Config, RunOptions
from bench.results.run_directory import Folders

CPU = "cpu"
# Of the kernel drivers of NVIDIA, of AMD, and of both under WSL.
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
NOT_LOOKED_AT = "it was not looked at yet"


class EarlyStart(contextlib.ExitStack):
    """Fork servers that start early, and end with the block."""

    def __init__(self) -> None:
        super().__init__()
        self._starting: Starting | None = None
        self._modules_may_come = threading.Event()

    def begin(self, settings: Config, run: RunOptions) -> None:
        """Start those that a run on the CPU will need first; none where that cannot be told.

        run: the options of this machine's part of the run.
        """
        if not sys.platform.startswith("linux") or _may_use_accelerators(settings):
            return
        # A mistake in the configuration is told after the probe, with what that found.
        with contextlib.suppress(UserError, OSError):
            cases = _of_first_round(settings, run)
            folder = tempfile.TemporaryDirectory(prefix="bench-early-", ignore_cleanup_errors=True)
            here = Path(self.enter_context(folder))
            self._starting = Starting(
                WorkerPool(
                    cases=cases,
                    folders=Folders(here, here),
                    log=here / "early.log",
                    timeout_s=run.timeout_s,
                    wait_policy=run.wait_policy,
                    modules_may_come=self._modules_may_come,
                )
            )
            self.callback(self._starting.drop)  # one that a run has taken over has no servers left
            self._starting.begin()

    def go_on(self) -> None:
        """Let them import the user's modules: the probe has done so."""
        self._modules_may_come.set()

    def taken(self) -> Starting | None:
        """Return them, once."""
        taken, self._starting = self._starting, None
        return taken


def plan_of(settings: Config, found: Probe) -> expand.Plan:
    """Return the plan of a run on this machine.  Raises PlanError."""
    return expand.make(
        settings,
        found,
        as_plain_process=allocators.can_be_chosen(os.environ, platform.libc_ver()[0]),
        finds_largest=True,
    )


def _may_use_accelerators(settings: Config) -> bool:
    if not any(map(os.path.exists, DRIVERS)):
        return False
    return any(set(sweep.axes.get("device", ())) != {CPU} for sweep in settings.sweeps)


def _of_first_round(settings: Config, run: RunOptions) -> list[Case]:
    """Return the cases that the first round may measure.  Raises UserError."""
    wholes = {parse(name).whole for name in settings.subjects()}
    found = SubjectFound(has_inputs=True, layers_error=NOT_LOOKED_AT)
    probe = Probe(
        torch="",
        torch_details={},
        devices={CPU: Device(name=CPU, shown=CPU)},
        subjects=dict.fromkeys(wholes, found),
    )
    plan = plan_of(settings, probe)
    parts = rounds([*plan.cases, *plan.largest], run)
    first = itertools.takewhile(lambda part: part.replicate == 0, parts)
    return [case for part in first for case in (*part.own, *part.anchors, *part.later)]
