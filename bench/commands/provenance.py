"""Probe for a command, and make the parts of run.json that follow from the probe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.host import environment, probe
from bench.host.probed import Probe
from bench.plan.config import Config


def look(settings: Config) -> Probe:
    """Probe the subjects of a configuration.  Raises ProbeError if none of them can be built."""
    run = settings.run
    return probe.built(
        probe.look(settings.subjects(), settings.inputs(), run.timeout_s, weights=run.weights_file)
    )


def machine(found: Probe) -> dict[str, Any]:
    """Return the computer with its GPUs."""
    return {**environment.machine(found.accelerators), "gpus": found.gpus}


def software(found: Probe, around: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and sources.  around: `environment.environment()`.

    A subject in a file that git does not have is an uncommitted change as well.
    """
    modules = [Path(one.file) for one in found.modules.values()]
    dirty = around.get("git_dirty")
    if dirty is False:
        dirty = environment.is_new_to_git(Path.cwd(), modules)
    return {**found.torch_details, **around, "git_dirty": dirty, "sources": found.digests}


def machine_id(timeout_s: float) -> str:
    """Return the id of this machine, which depends on the accelerators that torch finds."""
    found = probe.look((), {}, timeout_s)
    return str(environment.machine(found.accelerators)["machine_id"])


def fixed(found: Probe) -> dict[str, object]:
    """Return the details of the machine and its software on which figures depend."""
    return environment.fixed_details(machine(found), software(found, environment.environment()))


def differences(before: Mapping[str, Any], sources: Mapping[str, Any], found: Probe) -> list[str]:
    """Return what has changed on this machine and in the code since, one text each.

    before:  `environment.fixed_details` of run.json.
    sources: digests of the modules then, by name; a module that is not there counts as unchanged.
    """
    now = environment.fixed_details(
        machine(found), {**found.torch_details, **environment.environment()}
    )
    return [
        f"another {what}: it was {before.get(what)}, this is {now.get(what)}"
        for what in dict.fromkeys((*before, *now))
        if before.get(what) != now.get(what)
    ] + [
        f"another {name}: its file has changed since"
        for name, digest in found.digests.items()
        if sources.get(name, digest) != digest
    ]
