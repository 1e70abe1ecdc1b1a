"""The parts of run.json that every command writes from a probe."""

from collections.abc import Mapping
from typing import Any

from bench.host import environment
from bench.host.probed import Probe


def machine(found: Probe) -> dict[str, Any]:
    """Return the computer with its GPUs."""
    return {**environment.machine(found.accelerators), "gpus": found.gpus}


def software(found: Probe, around: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and sources.  around: `environment.environment()`."""
    return {**found.torch_details, **around, "sources": found.digests}
