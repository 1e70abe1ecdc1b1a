"""The command `bench fleet`: the machines of a cluster measure one run, a directory a kind."""

import dataclasses
import datetime
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.commands import derive, provenance, unit
from bench.commands import merge as merging
from bench.commands import run as measure
from bench.core.text import command
from bench.fleet import directories, on_ray
from bench.fleet import journal as fleet_journal
from bench.fleet.driver import Driver, FleetError, versions_of
from bench.host import environment, probe
from bench.results import run_directory
from bench.results.journal import Journal
from bench.terminal import run_summary
from bench.terminal.progress import wide_console
from bench.verdict import tables

OK, FAILED, INTERRUPTED = 0, 4, 130
GIT = ("git_commit", "git_dirty", "git_changes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags of `bench fleet`.  run: those of `bench run` among them."""

    run: measure.Asked
    address: str = "auto"
    out: Path | None = None
    resume: Path | None = None


def run(asked: Asked) -> int:
    """Measure on all machines of the cluster.  Return the exit code.

    Raises FleetError, RayError, RunDirError, ConfigError.
    """
    console = wide_console()
    on_ray.ray_module()  # before anything takes time
    state = environment.git_state(Path.cwd())
    git = {name: state[name] for name in GIT}
    versions = versions_of(provenance.fixed(probe.look((), {}, 180.0)))
    begun = _begun(asked, versions, git)
    path, fields, units = begun.path, begun.fields, begun.units
    with on_ray.connected(asked.address, Path.cwd()) as cluster:
        if not asked.resume:
            _create(begun, versions, git)
        log = Journal(path / fleet_journal.NAME)
        driver = Driver(
            cluster=cluster,
            log=log,
            lines=fleet_journal.read(path / fleet_journal.NAME),
            run=fields,
            units=units,
            versions=versions,
            git=git,
            tell=lambda text: tables.say(console, text),
        )
        interrupted, complete = False, False
        try:
            complete = driver.measure()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            log.close()
    _results(path, driver, console)
    if not complete:
        if not driver.machines:
            tables.say(console, f"no node measures; start one by: {on_ray.START}")
        tables.say(console, f"to measure the rest: {command('bench', 'fleet', '--resume', path)}")
    if interrupted:
        return INTERRUPTED
    return OK if complete else FAILED


@dataclass(frozen=True, slots=True)
class _Begun:
    """A fleet that begins or goes on.  fields: the flags of `bench run`, as its units get them."""

    path: Path
    fields: Mapping[str, Any]
    units: int


def _begun(asked: Asked, versions: Mapping[str, str], git: Mapping[str, Any]) -> _Begun:
    """Return the fleet that is resumed, or a new one, of which nothing is on disk yet.

    Raises FleetError, RunDirError, ConfigError.
    """
    if asked.resume:
        stored = directories.reopen(asked.resume)
        if stored["versions"] != versions or stored["git"] != git:
            raise FleetError(
                f"--resume {asked.resume}: the code or a version has changed since it began; begin "
                "anew"
            )
        return _Begun(asked.resume, stored["asked"], int(stored["units"]))
    units = measure.config_of(asked.run).run.replicates
    path = asked.out or run_directory.default_path(
        asked.run.name or "fleet", git["git_commit"], datetime.datetime.now(datetime.UTC)
    )
    run_directory.refuse_existing(path)
    return _Begun(path, unit.asked_fields(_inside(asked.run, Path.cwd())), units)


def _create(begun: _Begun, versions: Mapping[str, str], git: Mapping[str, Any]) -> None:
    """Make the directory.  Raises RunDirError."""
    directories.create(
        begun.path,
        {
            "command": ["bench", *sys.argv[1:]],
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "asked": begun.fields,
            "units": begun.units,
            "versions": versions,
            "git": git,
        },
    )


def _inside(asked: measure.Asked, folder: Path) -> measure.Asked:
    """Return the flags with paths that hold on every node.  Raises FleetError.

    Only the folder is sent there.
    """
    weights = asked.options.get("weights")
    return dataclasses.replace(
        asked,
        config=asked.config and Path(_relative("--config", asked.config, folder)),
        options={
            **asked.options,
            "weights": weights and _relative("--weights", Path(weights), folder),
        },
    )


def _relative(flag: str, path: Path, folder: Path) -> str:
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except ValueError:
        raise FleetError(
            f"{flag} {path}: lies outside of {folder}, which is all that the machines get; copy it "
            "there"
        ) from None


def _results(path: Path, driver: Driver, console: Console) -> None:
    """Write the run directory of each kind, and print its table."""
    made = directories.write_runs(path, driver.lines, ["bench", *sys.argv[1:]])
    for folder, merged in made:
        tables.say(console, merging.told(merged, folder))
        results, entries, plots = derive.write_all(folder)
        run_summary.show(results, entries, plots, console)
    if len(made) > 1:
        folders = [str(folder) for folder, _ in made]
        tables.say(
            console, f"which machine is worth its price: {command('bench', 'report', *folders)}"
        )
