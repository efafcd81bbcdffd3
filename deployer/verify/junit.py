"""Results as a JUnit XML file, the form that every pipeline reads: one testcase per check and host."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from deployer.verify.model import CheckResult

# What XML 1.0 cannot hold.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, results: Sequence[CheckResult]) -> None:
    """Write `results` to `path`; the class of a test case is the host (`controller` for checks that ask none)."""
    suite = ElementTree.Element(
        "testsuite",
        name="deploy verify",
        tests=str(len(results)),
        failures=str(sum(result.outcome == "failed" for result in results)),
        errors="0",
        skipped=str(sum(result.outcome == "skipped" for result in results)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        suite.append(_case(result))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)


def _case(result: CheckResult) -> ElementTree.Element:
    host = result.host or "controller"
    case = ElementTree.Element("testcase", classname=host, name=result.check, time=f"{result.seconds:.3f}")
    if result.outcome != "passed":
        detail = _FORBIDDEN.sub("�", result.detail)
        tag = "failure" if result.outcome == "failed" else "skipped"
        note = ElementTree.SubElement(case, tag, message=detail.partition("\n")[0])
        note.text = detail
    return case
