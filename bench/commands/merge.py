"""The command `bench merge DIR… --out RUN`: the shards of a run become one run directory."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.commands import derive
from bench.core import decode
from bench.core.exit_codes import FAILED, OK
from bench.core.records import RecordError
from bench.core.text import command, number_of
from bench.engine.run_so_far import RunSoFar
from bench.results import run_directory
from bench.shards import merge, read
from bench.shards.merge import Merged
from bench.shards.read import Part
from bench.terminal import run_summary
from bench.terminal.progress import wide_console
from bench.verdict import tables


def run(given: Sequence[Path], out: Path) -> int:
    """Merge shards and print the result of each kind of machine.  Return the exit code.

    Raises ShardsError, RunDirError, JournalError.
    """
    console = wide_console()
    run_directory.refuse_existing(out)
    merged = merge.by_kind(read.parts(given))
    for one in merged:
        for part in one.again:
            tables.say(
                console,
                f"note: {part.path}: shard {part.shard} is given more than once, and counts once",
            )
    if len(merged) > 1:
        tables.say(console, f"{len(merged)} kinds of machine: each is a run of its own in {out}")
    for one in merged:
        path = out if len(merged) == 1 else out / one.name
        merge.write(one, path, ["bench", *sys.argv[1:]])
        tables.say(console, told(one, path))
        for text in cut_short(one):
            tables.say(console, text)
        results, entries, plots = derive.write_all(path)
        run_summary.show(results, entries, plots, console)
    lacking = merge.missing(merged)
    if lacking:
        tables.say(console, _what_to_do(lacking, merged[0]))
    return FAILED if lacking else OK


def told(one: Merged, path: Path) -> str:
    """Return `results/x: shards 1, 2 of 4, measured by 2 machines of the kind …`."""
    numbers = ", ".join(map(str, one.shards))
    nodes = len({part.node for part in one.parts})
    by = "1 machine" if nodes == 1 else f"{nodes} machines"
    which = "shard" if len(one.shards) == 1 else "shards"
    return f"{path}: {which} {numbers} of {one.parts[0].shard.count}, measured by {by} ({one.name})"


def cut_short(one: Merged) -> Iterator[str]:
    """Yield a note for each shard that ended before it had all of its replicates."""
    for part in one.parts:
        if lacking := _lacking(part):
            go_on = command("bench", "run", "--resume", part.path)
            yield (
                f"note: {part.path}: shard {part.shard} lacks {number_of(lacking, 'outcome')}, so "
                f"some figures have fewer replicates; go on there by {go_on}, then merge again"
            )


def _lacking(part: Part) -> int:
    """Return how many outcomes a shard would still have measured, had it not ended."""
    seen = RunSoFar()
    for entry in part.entries:
        seen.add(entry)
    own = part.shard.share(part.description.config.replicates)
    try:
        cases = [decode.case(dict(one)) for one in part.description.cases]
    except RecordError:  # written by hand: nobody knows what it was asked for
        return 0
    return sum(
        max(0, own - len(seen.replicates(case))) for case in cases if not seen.given_up(case)
    )


def _what_to_do(lacking: Sequence[int], one: Merged) -> str:
    count, first = one.parts[0].shard.count, lacking[0]
    numbers = ", ".join(map(str, lacking))
    which, are = ("shard", "is") if len(lacking) == 1 else ("shards", "are")
    asked = [word for word in one.parts[0].description.command if isinstance(word, str)]
    repeat = command(*_with_shard(asked, f"{first}/{count}"))
    return (
        f"{which} {numbers} of {count} {are} missing, so these figures have fewer replicates; "
        f"measure, for example: {repeat}"
    )


def _with_shard(asked: Sequence[str], shard: str) -> list[str]:
    """Replace the shard in a command, and leave out its run directory."""
    words, found = iter(asked), list[str]()
    for word in words:
        name = word.partition("=")[0]
        if name in ("--shard", "--out"):
            if "=" not in word:
                next(words, None)
            continue
        found.append(word)
    return [*found, "--shard", shard]
