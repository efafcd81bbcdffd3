"""The pytest plugin of one run of checks: sends each check to its hosts, and notes what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.verify.fixtures import Target
from deployer.verify.model import CheckResult, Outcome

_LONGEST_DETAIL = 2000


class ChecksPlugin:
    """Runs every check of a file against each of the file's targets, and reports each result at once.

    With `deployer.verify.fixtures` it stands in for testinfra's own plugin, whose hosts come from the command line and
    are cached for the whole process.
    """

    def __init__(self, folder: Path, targets: Mapping[Path, Sequence[Target]], tell: Callable[[CheckResult], None]):
        self._folder = folder
        self._targets = targets
        self._tell = tell
        self._running: dict[str, CheckResult] = {}
        self.crash = ""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "check_target" in metafunc.fixturenames:
            targets = self._targets[metafunc.definition.path]
            ids = [f"target{number}" for number in range(len(targets))]
            metafunc.parametrize("check_target", targets, ids=ids, scope="module", indirect=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._note(item, report)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported is a failed check, and one that skips itself a skipped one."""
        if not report.passed:
            self._tell(CheckResult(self._title(report.nodeid), "", report.outcome, _why(report), 0.0))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """A check called `pytest.exit` or raised KeyboardInterrupt."""
        self.crash = str(excinfo.value) or excinfo.typename

    def pytest_internalerror(self, excrepr: object) -> None:
        self.crash = str(excrepr)

    def _note(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take the three reports of a check (setup, call, teardown) together; the worst one counts."""
        earlier = self._running.pop(item.nodeid, None)
        name, host = self._names(item)
        outcome: Outcome = report.outcome
        detail = _why(report)
        if earlier and (earlier.outcome == "failed" or (earlier.outcome == "skipped" and outcome == "passed")):
            outcome, detail = earlier.outcome, earlier.detail
        seconds = report.duration + (earlier.seconds if earlier else 0.0)
        result = CheckResult(name, host, outcome, detail, round(seconds, 4))
        if report.when == "teardown":
            self._tell(result)
        else:
            self._running[item.nodeid] = result

    def _names(self, item: pytest.Item) -> tuple[str, str]:
        """Return the check's name without its target, and the target's."""
        callspec = getattr(item, "callspec", None)
        target: Target | None = callspec.params.get("check_target") if callspec else None
        name = self._title(item.nodeid)
        if target is None:
            return name, ""
        head, _, parameters = name.rpartition("[")
        words = [word for word in parameters.rstrip("]").split("-") if not word.startswith("target")]
        return (f"{head}[{'-'.join(words)}]" if words else head), target.name

    def _title(self, nodeid: str) -> str:
        """`app/test_instance.py::test_it_serves` for a role's checks, `shop/…` for those of the project in `shop`."""
        return f"{self._folder.parent.name}/{nodeid}"


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    if report.passed:
        return ""
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
        return str(reason).removeprefix("Skipped: ")
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return report.longreprtext.strip()[-_LONGEST_DETAIL:]
    message = crash.message.removeprefix("AssertionError: ").strip()
    return f"{message[:_LONGEST_DETAIL]} ({Path(crash.path).name}:{crash.lineno})"
