"""GitHub's annotations: lines on standard output that show beside a pull request.

Source: GitHub Docs, "Workflow commands for GitHub Actions" (escapes as actions/toolkit has them).
"""

from collections.abc import Iterator

from bench.read.junit import sentence
from bench.read.verdict import Report

MOST = 10  # of a kind and step: GitHub shows no more


def annotations(report: Report, *, strict: bool = False) -> Iterator[str]:
    """`::error` where the check fails, `::warning` for a suspect that does not make it fail."""
    errors = {"REGRESSED", "FAILED", "MISSING"} | ({"SUSPECT"} if strict else set())
    for level, verdicts in (("error", errors), ("warning", {"SUSPECT"} - errors)):
        found = [one for one in report.cases if one.verdict in verdicts]
        for one in found[:MOST]:
            yield f"::{level} title={_property(one.case_id)}::{_data(sentence(one))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
