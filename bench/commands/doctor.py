"""`bench doctor`: what this machine lacks or does that would spoil figures, and how to mend it."""

from collections import Counter

from rich.console import Console
from rich.text import Text

from bench.core.exit_codes import BAD_RESULT, OK
from bench.core.text import are, number_of, printable
from bench.host import doctor_checks, probe
from bench.terminal.progress import wide_console

PROBE_LIMIT_S = 60.0
STYLES = {"ok": "green", "spoils": "bold red", "lacks": "yellow"}


def run(console: Console | None = None) -> int:
    """Print each finding as it is known.  Return BAD_RESULT if something spoils figures."""
    console = console or wide_console()
    counts: Counter[str] = Counter()
    for one in doctor_checks.findings(lambda: probe.look((), {}, PROBE_LIMIT_S)):
        counts[one.level] += 1
        line = Text(f"{one.level:<8}", style=STYLES[one.level])
        line.append(printable(one.text), style="default")
        console.print(line, soft_wrap=True)
        if one.mend:
            console.print(Text(f"        {printable(one.mend)}", style="default"), soft_wrap=True)
    console.print()
    console.print(summary(counts["spoils"], counts["lacks"]))
    return BAD_RESULT if counts["spoils"] else OK


def summary(spoils: int, lacks: int) -> str:
    """Return the last line: `2 things spoil figures here; 1 thing is missing`."""
    if not spoils and not lacks:
        return "nothing here spoils figures"
    parts = [f"{_things(spoils)} figures here" if spoils else "nothing here spoils figures"]
    if lacks:
        parts.append(f"{number_of(lacks, 'thing')} {are(lacks)} missing")
    return "; ".join(parts)


def _things(count: int) -> str:
    return f"{number_of(count, 'thing')} {'spoils' if count == 1 else 'spoil'}"
