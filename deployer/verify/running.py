"""Runs checks against hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from deployer.errors import ChecksError
from deployer.verify.checker import Checker
from deployer.verify.files import find
from deployer.verify.junit import write_junit
from deployer.verify.model import CheckResult, CheckSet, Runner, Verification
from deployer.verify.wire import Round

_Target = tuple[str, Mapping[str, Any]]
_Work = dict[Path, dict[str, list[_Target]]]


def run(
    checks: Sequence[CheckSet],
    runner: Runner,
    on_result: Callable[[CheckResult], None] = lambda result: None,
    junitxml: Path | None = None,
    checker: Checker | None = None,
) -> Verification:
    """Run every check of every set against the set's hosts, one after another, and return all results.

    Args:
        checks: what to run where.
        runner: runs one command on one host; its error fails the check that called it.
        on_result: takes each result as soon as it is known, in the calling thread.
        junitxml: also write the results there.
        checker: the process that runs them; by default one that ends with this call.

    Failed checks are results, not exceptions. Works in any thread; calls with one checker wait for each other.

    Raises:
        ChecksError: nothing was checked at all, a path does not exist, or the checks' process broke.
        KeyboardInterrupt: Ctrl-C while it ran.
    """
    results: list[CheckResult] = []

    def note(result: CheckResult) -> None:
        results.append(result)
        on_result(result)

    work = _work(checks)
    try:
        with ExitStack() as stack:
            process = checker or stack.enter_context(Checker())
            for folder, targets in work.items():
                process.run(Round(str(folder), targets), runner, note)
    finally:
        if junitxml is not None:
            write_junit(junitxml, results)
    checked = {result.host for result in results if result.outcome != "skipped"}
    if not checked:
        raise _nothing_checked(work, results)
    hosts = dict.fromkeys(host for check_set in checks for host in check_set.hosts)
    return Verification(tuple(results), tuple(host for host in hosts if host not in checked))


def _work(checks: Sequence[CheckSet]) -> _Work:
    """Return folder → check file → the targets it runs against, in the order of the sets."""
    work: _Work = {}
    for check_set in checks:
        variables = json.loads(json.dumps(dict(check_set.variables)))
        targets: list[_Target] = [(name, variables) for name in check_set.hosts]
        for path in map(Path.absolute, check_set.paths):
            if not path.exists():
                raise ChecksError(f"there is no {path}", step="verify", hint="look at checks: in deploy.yaml")
            folder = path if path.is_dir() else path.parent
            for file in find(path) if path.is_dir() else (path,):
                work.setdefault(folder, {}).setdefault(str(file), []).extend(targets)
    return work


def _nothing_checked(work: _Work, results: Sequence[CheckResult]) -> ChecksError:
    reasons = [f"{result.check} on {result.host}: {result.detail}" for result in results]
    return ChecksError(
        "no check ran, so nothing is verified",
        step="verify",
        cause="all of them were skipped"
        if results
        else "no test_*.py file exists"
        if not work
        else "the files contain no checks",
        hint="checks: in deploy.yaml names folders of testinfra files",
        log=reasons[-20:],
        code="nothing_checked",
    )
