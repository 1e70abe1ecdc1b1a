"""GitHub's annotations: lines on standard output that show beside a pull request.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (escapes as actions/toolkit has them).
"""

from collections.abc import Iterator, Sequence

from bench.verdict.ci import Judged

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
