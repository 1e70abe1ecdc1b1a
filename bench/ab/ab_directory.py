"""Make the directory of a comparison, reopen it for a resume, and read earlier null cases."""

import contextlib
import dataclasses
import datetime
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.ab import pair_journal, variants
from bench.ab.ab_plan import AbError, Asked, Planned
from bench.host import environment
from bench.plan import config
from bench.results import directory_kind, run_directory
from bench.verdict.looks import FRESH_PAIRS

DESCRIPTION = "ab.json"
# ab.json has these under `machine_id` and `sides`.
STORED_ELSEWHERE = ("machine", "commit", "state of the working tree")


class ChangedError(AbError):
    """A comparison is not resumed: the code, the machine or the conditions changed since."""


def create(asked: Asked, planned: Planned) -> Path:
    """Make a new directory with its ab.json.  Raises RunDirError."""
    now = datetime.datetime.now(datetime.UTC)
    commit = planned.sides[1].commit
    path = asked.out or run_directory.default_path("ab", commit, now)
    document = {
        "command": ["bench", *sys.argv[1:]],
        "started": now.isoformat(timespec="seconds"),
        **_description(asked, planned),
        "pairs": planned.pairs,
        "environment": {**planned.torch_details, **environment.environment()},
    }
    run_directory.create(path, document, name=DESCRIPTION, journal=pair_journal.NAME)
    return path


def _description(asked: Asked, planned: Planned) -> dict[str, Any]:
    """Return the part of ab.json that has to be the same for a resume."""
    cases_of = config.file_of(asked.config, config.AB)
    return {
        "sides": {side.name: side.as_dict() for side in planned.sides},
        "asked": {
            "config": None if cases_of == config.AB else str(cases_of),
            "axes": {name: list(values) for name, values in asked.axes.items()},
            "subjects": list(asked.subjects),
            "threshold": asked.threshold,
            **({"for_all": True} if asked.for_all else {}),
            "seed": planned.run.seed,
            **({"weights": planned.run.weights} if planned.run.weights else {}),
        },
        **fixed(planned),
        "cases": list(planned.cases),
        "missing": dict(planned.missing),
        "thresholds": dict(planned.thresholds),
    }


def fixed(planned: Planned) -> dict[str, Any]:
    """Return the code of both sides, the machine and the conditions, which no resume may change."""
    return {
        "torch": dict(planned.versions),
        "proof": {name: dict(files) for name, files in planned.proof.items()},
        "sources": {
            side: {name: one.digest for name, one in files.items()}
            for side, files in planned.sources.items()
        },
        "machine_id": planned.machine_id,
        "conditions": _conditions(planned),
    }


def _conditions(planned: Planned) -> dict[str, Any]:
    """Return the conditions of the measurement, by the name that a message gives to each."""
    software = {**planned.torch_details, **environment.environment()}
    details = environment.fixed_details(environment.machine({}), software)
    return {name: value for name, value in details.items() if name not in STORED_ELSEWHERE}


def stored(asked: Asked) -> tuple[Asked, dict[str, Any]]:
    """Return the arguments of the comparison to resume, and its ab.json.

    Raises AbError if a flag is given that would change the comparison.
    """
    path = asked.resume
    assert path is not None
    others = asked.a or asked.b or asked.axes or asked.subjects or asked.config or asked.out
    if (
        others
        or asked.own_threshold
        or any(asked.options.get(name) is not None for name in ("seed", "weights"))
    ):
        raise AbError(
            f"--resume {path}: a resume keeps the arguments of the comparison; only --budget, "
            "--timeout, --pairs and --strict may be given as well"
        )
    if other := directory_kind.mistaken(path, (directory_kind.COMPARISON,)):
        raise AbError(f"--resume {path}: {other}")
    try:
        stored = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        before, commits = stored["asked"], {}
        for name, side in stored["sides"].items():
            moves = side["kind"] == "revision" and side["asked"] != variants.WORKING_TREE
            commits[name] = side["commit"] if moves else side["asked"]
        again = dataclasses.replace(
            asked,
            a=commits["A"],
            b=commits["B"],
            # The comparison did not use a ./bench.toml that is newer than it.
            config=Path(before["config"]) if before["config"] else config.AB,
            axes={name: tuple(given) for name, given in before["axes"].items()},
            subjects=tuple(before["subjects"]),
            threshold=before["threshold"],
            for_all=before.get("for_all", False),
            options={**asked.options, "seed": before["seed"], "weights": before.get("weights")},
            pairs=_more_pairs(asked, int(stored.get("pairs", FRESH_PAIRS))),
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AbError(f"--resume {path}: is not a comparison: {error.strerror}") from None
    except OSError as error:
        raise AbError(f"--resume {path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AbError(f"--resume {path}: its {DESCRIPTION} is damaged ({error})") from None
    return again, stored


def _more_pairs(asked: Asked, before: int) -> int:
    """Return the number of pairs of the resumed comparison.  Raises AbError if it is smaller."""
    if asked.pairs is not None and asked.pairs < before:
        raise AbError(
            f"--resume {asked.resume}: --pairs {asked.pairs} is less than the {before} that the "
            "comparison has; pairs can be added, but not removed"
        )
    return asked.pairs or before


def reopen(asked: Asked, planned: Planned, stored: Mapping[str, Any]) -> Path:
    """Open the directory of a comparison for a resume.

    Raises ChangedError.
    """
    path = asked.resume
    assert path is not None
    now = _description(asked, planned)
    now["sides"] = {
        name: {**side, "asked": stored["sides"][name]["asked"]}
        for name, side in now["sides"].items()
    }
    if differs := changed(stored, now):
        raise ChangedError(
            f"--resume {path}: changed since then: {', '.join(differs)}; start a new comparison"
        )
    run_directory.make_scratch(run_directory.RunDir(path))
    if planned.pairs != stored.get("pairs", FRESH_PAIRS):
        text = json.dumps({**stored, "pairs": planned.pairs}, indent=1) + "\n"
        run_directory.write_atomically(path / DESCRIPTION, text)
    return path


def changed(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of what is not as it was stored; of the conditions, each by its own name."""
    differs = [name for name, value in now.items() if stored.get(name) != value]
    if "conditions" in differs:
        before, here = dict(stored.get("conditions", {})), now["conditions"]
        differs.remove("conditions")
        differs += [one for one in {**before, **here} if before.get(one) != here.get(one)]
    return differs


def null_history(path: Path, machine_id: str) -> list[float]:
    """Return the values of the null cases of earlier comparisons on this machine, the oldest first.

    They are logs of ratios, from the comparisons in the same parent folder.
    """
    found = []
    for file in path.absolute().parent.glob(f"*/{DESCRIPTION}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(file.read_text(encoding="utf-8"))
            if stored["machine_id"] == machine_id and file.parent.name != path.name:
                found.append((str(stored["started"]), float(stored["null_log_ratio"])))
    return [value for _, value in sorted(found)]
