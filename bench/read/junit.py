"""junit.xml of a check, for the test reports of CI services: a test case a case.

Source: the schema that Jenkins and GitLab read (testsuite, testcase, failure, error, skipped).
"""

import re
from xml.etree import ElementTree

from bench.read.verdict import CaseVerdict, Report, Verdict

FAILURES: frozenset[Verdict] = frozenset({"REGRESSED"})
ERRORS: frozenset[Verdict] = frozenset({"FAILED", "MISSING"})
SKIPPED: frozenset[Verdict] = frozenset({"INCONCLUSIVE", "ADVISORY", "UNMEASURED", "NEW"})
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report, *, strict: bool = False) -> str:
    """The document.  strict: a suspect is a failure, else it is skipped."""
    failures = FAILURES | ({"SUSPECT"} if strict else set())
    skipped = SKIPPED | (set() if strict else {"SUSPECT"})
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(f"bench check {report.run_id} against {report.baseline_id}"),
        tests=str(len(report.cases)),
        failures=str(sum(one.verdict in failures for one in report.cases)),
        errors=str(sum(one.verdict in ERRORS for one in report.cases)),
        skipped=str(sum(one.verdict in skipped for one in report.cases)),
    )
    for one in report.cases:
        case = ElementTree.SubElement(
            suite, "testcase", name=_clean(one.case_id), classname=_clean(one.subject)
        )
        for kind, verdicts in (("failure", failures), ("error", ERRORS), ("skipped", skipped)):
            if one.verdict in verdicts:
                said = ElementTree.SubElement(case, kind, message=_clean(sentence(one)))
                if one.command:
                    said.text = _clean(f"to settle it: {one.command}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def sentence(case: CaseVerdict) -> str:
    """The verdict and what it rests on, in one line."""
    found = next((one for one in case.findings if one.verdict == case.verdict), None)
    if found is None:
        return f"{case.verdict}: {case.note}" if case.note else case.verdict
    worse = "" if found.worse is None else f" {found.worse - 1:+.1%} worse"
    note = f" ({found.note})" if found.note else ""
    return f"{case.verdict}: {found.phase} {found.figure}{worse}{note}"


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold, escaped or not."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
