"""junit.xml, for the test reports of CI services: a test case a case.

Source: the schema that Jenkins and GitLab read (testsuite, testcase, failure, error, skipped).
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from bench.verdict.ci import Judged

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, cases: Sequence[Judged]) -> str:
    """The document.  name: of the whole suite."""
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
            said = ElementTree.SubElement(case, one.outcome, message=_clean(one.sentence))
            if one.command:
                said.text = _clean(f"to settle it: {one.command}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold, escaped or not."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
