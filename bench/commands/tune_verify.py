"""The command `bench tune --verify TOML`: the setting that a search found, measured again."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bench.commands import provenance
from bench.commands.tune import SAMPLES_S, WARMUP_S, TuneError
from bench.compare.groups import label
from bench.core.exit_codes import BAD_RESULT, FAILED, OK
from bench.core.records import Case
from bench.host import probe
from bench.host.probed import Probe
from bench.plan import config, expand
from bench.results.journal import Journal
from bench.results.run_directory import RunDir
from bench.terminal.progress import wide_console
from bench.tune import tune_result, verified
from bench.tune.confirm import Confirmation
from bench.tune.lab import ProcessLab
from bench.tune.objectives import COUNTED, Objective
from bench.tune.space import changed
from bench.tune.verified import Verified
from bench.verdict import tables


def run(path: Path, budget_s: float, timeout_s: float) -> int:
    """Measure plain and the setting of best.toml again, by the objective of the search.

    Return the exit code.

    path: best.toml, or the folder of a search.
    """
    console = wide_console()
    file = path / tune_result.TOML if path.is_dir() else path
    asked = config.load(file)
    found = probe.built(
        probe.look(asked.subjects(), asked.inputs(), timeout_s, weights=asked.run.weights_file)
    )
    plain, winner = _cases(file, asked, found)

    say = partial(tables.say, console)

    if plain == winner:
        say(f"{file}: the plain setting is the choice of the search; there is nothing to verify")
        return OK
    options = asked.run.model_copy(
        update={"samples_s": SAMPLES_S, "warmup_s": WARMUP_S, "timeout_s": timeout_s}
    )
    say(f"{label(changed(winner, plain))} against plain; about {budget_s:.0f} s at most")
    made = _measured(plain, winner, options, budget_s, say, _stored(file.parent), found)
    for sentence in verified.sentences(made):
        say(sentence)
    if not made.is_compared and made.static.wrong is None:
        return FAILED
    return OK if made.holds else BAD_RESULT


def _cases(file: Path, asked: config.Config, found: Probe) -> tuple[Case, Case]:
    """Return the plain case and that of the winner.  Raises TuneError where one cannot run here."""
    cases: list[Case] = []
    for sweep in asked.sweeps:
        alone = config.Config(run=asked.run, sweeps=(sweep,), source=str(file))
        planned = expand.make(alone, found)
        if len(planned.cases) != 1:
            why = "; ".join(dict.fromkeys(one.reason for one in planned.left_out))
            raise TuneError(
                f"{file}: a [[sweep]] gives {len(planned.cases)} cases here and not one"
                + (f": {why}" if why else "; give the best.toml of a search")
            )
        cases.append(planned.cases[0])
    if not 1 <= len(cases) <= 2:
        raise TuneError(f"{file}: expected the plain setting and the best one, as in best.toml")
    return cases[0], cases[-1]


def _measured(
    plain: Case,
    winner: Case,
    options: config.RunOptions,
    budget_s: float,
    say: Callable[[str], None],
    stored: tuple[Mapping[str, Any], Mapping[str, Any]],
    found: Probe,
) -> Verified:
    """stored: tune.json and run.json of the search."""
    begun_s = time.monotonic()
    searched, described = stored
    objective: Objective = searched.get("objective", "latency")
    is_counted = objective in COUNTED
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        directory = RunDir(Path(folder))
        directory.folders.scratch.mkdir()
        journal = Journal(directory.journal)
        lab = ProcessLab(
            directory=directory,
            run=options,
            journal=journal,
            objective=objective,
            budget_s=budget_s,
            tell=say,
            clock=time.monotonic,
        )
        try:
            *of_plain, static = lab.statics([plain, winner] if is_counted else [winner])
            pairs = Confirmation({"plain": (plain, winner)})
            if static.wrong is None and not is_counted:
                pairs.run(lab.pair, lambda: time.monotonic() - begun_s > budget_s)
        finally:
            journal.close()
    return Verified(
        name=label(changed(winner, plain)),
        static=static,
        again=pairs.of("plain"),
        promised=verified.of_stored(searched.get("against_plain")),
        changed=tuple(_changed(described, found)),
        objective=objective,
        plain=of_plain[0] if of_plain else None,
    )


def _stored(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """tune.json and run.json beside best.toml; empty where they are missing."""
    read: list[Mapping[str, Any]] = []
    for name in (tune_result.JSON, "run.json"):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        read.append(content if isinstance(content, dict) else {})
    return read[0], read[1]


def _changed(described: Mapping[str, Any], found: Probe) -> list[str]:
    """Return whether the machine and torch are those of the search."""
    said = []
    then = described.get("machine", {}).get("machine_id")
    if then is not None and then != provenance.machine(found)["machine_id"]:
        said.append("another machine")
    torch = described.get("environment", {}).get("torch")
    if torch is not None and torch != found.torch:
        said.append(f"another torch: it was {torch}, this is {found.torch}")
    return said
