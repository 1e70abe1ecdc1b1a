"""GitHub's annotations of a pull request, and its step summary.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (characters are escaped as in
actions/toolkit).
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from bench.verdict.ci import CaseOutcome

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
MOST = 10  # annotations of one level; GitHub shows no more for a step


def annotations(cases: Sequence[CaseOutcome]) -> Iterator[str]:
    """Yield `::error` for each case that fails, and `::warning` for each that only warns."""
    failing = [one for one in cases if one.outcome in ("failure", "error")]
    warning = [one for one in cases if one.warns]
    for level, shown in (("error", failing), ("warning", warning)):
        for one in shown[:MOST]:
            yield f"::{level} title={_property(one.name)}::{_data(one.sentence)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotate(cases: Sequence[CaseOutcome], console: Console) -> None:
    """Print the annotations; nothing outside of GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations(cases):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def step_summary(text: str) -> str | None:
    """Append a text to GitHub's step summary, if there is one.

    Return the error message if that failed, else None.  A failure changes no verdict.
    """
    target = os.environ.get(STEP_SUMMARY)
    if not target:
        return None
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        return f"{target}: the step summary cannot be written: {error.strerror}"
    return None
