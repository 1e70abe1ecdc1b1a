"""A real journal as the shards that would have left it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import Entry, StaticMetrics, to_line
from bench.results import journal
from tests.support.paths import ROOT

EXAMPLE = ROOT / "results" / "example"  # a run that was measured


def described(**changes: Any) -> dict[str, Any]:
    """run.json of the example, of a clean tree; `machine__node="b"` changes a part of it."""
    document: dict[str, Any] = json.loads((EXAMPLE / "run.json").read_text(encoding="utf-8"))
    document["environment"]["git_dirty"] = False
    document["machine"].setdefault("node", "a")
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            document[part][key] = value
        else:
            document[part] = value
    return document


def entries() -> list[Entry]:
    return journal.read(EXAMPLE / journal.NAME)


def of_shard(all_entries: Sequence[Entry], index: int, count: int) -> list[Entry]:
    """Return the entries of a shard: its replicates, and the static metrics of all its cases."""
    return [
        one
        for one in all_entries
        if isinstance(one, StaticMetrics) or one.replicate % count == index - 1
    ]


def write(folder: Path, own: Sequence[Entry], document: Mapping[str, Any]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = json.dumps({**document, "run_id": folder.name})
    (folder / "run.json").write_text(text, encoding="utf-8")
    lines = "".join(f"{to_line(one)}\n" for one in own)
    (folder / journal.NAME).write_text(lines, encoding="utf-8")
    return folder


def shard(folder: Path, index: int, count: int, plan: str = "p", **changes: Any) -> Path:
    """Write the directory of a shard of the example."""
    document = described(**changes)
    document["shard"] = {"index": index, "count": count, "plan": plan}
    return write(folder, of_shard(entries(), index, count), document)
