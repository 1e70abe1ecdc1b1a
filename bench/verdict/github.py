"""GitHub's annotations beside a pull request, and its step summary.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (escapes as actions/toolkit has them).
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from bench.verdict import ci
from bench.verdict.ci import Judged

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
MOST = 10  # of a kind and step: GitHub shows no more


def annotations(cases: Sequence[Judged]) -> Iterator[str]:
    """`::error` for what fails, `::warning` for what is worth a word without failing."""
    failing = [one for one in cases if one.outcome in ("failure", "error")]
    warning = [one for one in cases if one.warns]
    for level, found in (("error", failing), ("warning", warning)):
        for one in found[:MOST]:
            yield f"::{level} title={_property(one.name)}::{_data(one.sentence)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotate(cases: Sequence[ci.Judged], console: Console) -> None:
    """Where GitHub reads along."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations(cases):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def step_summary(text: str) -> str | None:
    """Append to GitHub's step summary; why that failed, which changes no verdict."""
    target = os.environ.get(STEP_SUMMARY)
    if not target:
        return None
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        return f"{target}: the step summary cannot be written: {error.strerror}"
    return None
