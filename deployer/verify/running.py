"""Runs checks against hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from deployer.errors import ChecksError
from deployer.verify import fixtures
from deployer.verify.backend import open_host
from deployer.verify.files import find
from deployer.verify.fixtures import Target
from deployer.verify.isolation import run_pytest
from deployer.verify.junit import write_junit
from deployer.verify.model import CheckResult, CheckSet, CommandResult, Runner, Verification
from deployer.verify.plugin import ChecksPlugin
from deployer.verify.quiet import Quiet

_Work = dict[Path, dict[Path, list[Target]]]


def run(
    checks: Sequence[CheckSet],
    runner: Runner,
    on_result: Callable[[CheckResult], None] = lambda result: None,
    junitxml: Path | None = None,
) -> Verification:
    """Runs every check of every set against the set's hosts, one after another, and returns all results.

    Args:
        checks: what to run where.
        runner: runs one command on one host; what it raises fails the check that asked.
        on_result: told each result as soon as it is known, in the calling thread.
        junitxml: also write the results there.

    Failed checks are results, not exceptions. Works in any thread; a second call waits for the first.

    Raises:
        ChecksError: nothing was checked at all, a path does not exist, or pytest itself broke.
        KeyboardInterrupt: Ctrl-C while it ran.
    """
    results: list[CheckResult] = []
    quiet = Quiet()

    def tell(result: CheckResult) -> None:
        results.append(result)
        with quiet.lifted():
            on_result(result)

    def asked(host: str, command: str) -> CommandResult:
        with quiet.lifted():
            return runner(host, command)

    work = _work(checks, asked)
    try:
        with quiet.entered():
            for folder, targets in work.items():
                _run_folder(folder, targets, tell)
    finally:
        if junitxml is not None:
            write_junit(junitxml, results)
    checked = {result.host for result in results if result.outcome != "skipped"}
    if not checked:
        raise _nothing_checked(work, results)
    hosts = dict.fromkeys(host for check_set in checks for host in check_set.hosts)
    return Verification(tuple(results), tuple(host for host in hosts if host not in checked))


def _work(checks: Sequence[CheckSet], runner: Runner) -> _Work:
    """Folder → check file → the targets it runs against, in the order of the sets."""
    work: _Work = {}
    for check_set in checks:
        variables = json.loads(json.dumps(dict(check_set.variables)))
        targets = [Target(name, open_host(name, runner), SimpleNamespace(**variables)) for name in check_set.hosts]
        for path in map(Path.absolute, check_set.paths):
            if not path.exists():
                raise ChecksError(f"there is no {path}", step="verify", hint="look at checks: in deploy.yaml")
            folder = path if path.is_dir() else path.parent
            for file in find(path) if path.is_dir() else (path,):
                work.setdefault(folder, {}).setdefault(file, []).extend(targets)
    return work


def _run_folder(folder: Path, targets: Mapping[Path, Sequence[Target]], tell: Callable[[CheckResult], None]) -> None:
    plugin = ChecksPlugin(folder, targets, tell)
    status = run_pytest(folder, tuple(targets), [fixtures, plugin])
    if plugin.interrupted:
        raise KeyboardInterrupt
    if plugin.crash or status not in (0, 1, 5):
        log = plugin.crash.splitlines()[-20:]
        raise ChecksError(f"pytest could not run the checks in {folder}", step="verify", log=log)


def _nothing_checked(work: _Work, results: Sequence[CheckResult]) -> ChecksError:
    reasons = [f"{result.check} on {result.host}: {result.detail}" for result in results]
    return ChecksError(
        "no check ran, so nothing is verified",
        step="verify",
        cause="all of them were skipped"
        if results
        else "there are no test_*.py files"
        if not work
        else "they hold none",
        hint="checks: in deploy.yaml names folders of testinfra files",
        log=reasons[-20:],
        code="nothing_checked",
    )
