"""The file junit.xml for the test reports of CI services; each case is a test case.

Source: the schema that Jenkins and GitLab read (testsuite, testcase, failure, error, skipped).
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from bench.verdict.ci import CaseOutcome

FILE = "junit.xml"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, cases: Sequence[CaseOutcome]) -> str:
    """Return the XML document.  name: the name of the test suite."""
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(name),
        tests=str(len(cases)),
        failures=str(sum(one.outcome == "failure" for one in cases)),
        errors=str(sum(one.outcome == "error" for one in cases)),
        skipped=str(sum(one.outcome == "skipped" for one in cases)),
    )
    for one in cases:
        case = ElementTree.SubElement(
            suite, "testcase", name=_clean(one.name), classname=_clean(one.group)
        )
        if one.outcome != "passed":
            outcome = ElementTree.SubElement(case, one.outcome, message=_clean(one.sentence))
            if one.command:
                outcome.text = _clean(f"to settle it: {one.command}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Replace the characters that XML 1.0 cannot hold even if they are escaped."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
