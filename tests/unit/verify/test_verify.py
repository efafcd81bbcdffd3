"""Checks on hosts, told as a person would see them; the commands really run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer import verify
from deployer.errors import ChecksError
from deployer.verify import CheckResult, CheckSet, CommandResult, Runner

Write = Callable[..., Path]

ASKS_ITS_HOST = """
    def test_it_answers_by_its_name(host, deploy):
        assert host.check_output("echo $ASKED") == deploy.expected
"""


def test_every_check_runs_on_every_host_with_that_hosts_variables(write: Write, local: Runner) -> None:
    folder = write("shop/checks/test_name.py", ASKS_ITS_HOST)
    seen: list[CheckResult] = []
    sets = [CheckSet([folder], [name], {"expected": name}) for name in ("web1", "web2", "web-10.example.com")]
    verification = verify.run(sets, local, seen.append)
    assert (verification.passed, verification.failed, verification.skipped) == (3, 0, 0)
    assert [result.host for result in seen] == ["web1", "web2", "web-10.example.com"]
    assert {result.check for result in seen} == {"shop/test_name.py::test_it_answers_by_its_name"}
    assert tuple(seen) == verification.results
    assert verification.unchecked == ()


def test_a_failing_check_says_what_was_there_instead(write: Write, local: Runner) -> None:
    folder = write("checks/test_name.py", ASKS_ITS_HOST)
    sets = [CheckSet([folder], ["web1"], {"expected": "web1"}), CheckSet([folder], ["web2"], {"expected": "elsewhere"})]
    verification = verify.run(sets, local)
    assert (verification.passed, verification.failed) == (1, 1)
    (failure,) = verification.failures
    assert failure.host == "web2"
    assert "assert 'web2' == 'elsewhere'" in failure.detail
    assert "test_name.py:3" in failure.detail


def test_testinfras_own_modules_work(write: Write, local: Runner, tmp_path: Path) -> None:
    (tmp_path / "it's here").write_text("hello\n")
    folder = write(
        "checks/test_file.py",
        """
        def test_the_file(host, deploy):
            assert host.file(deploy.path).content_string == "hello\\n"
            assert host.user(deploy.user).exists
            assert not host.file(deploy.path + "-not").exists
        """,
    )
    variables = {"path": str(tmp_path / "it's here"), "user": "root"}
    assert verify.run([CheckSet([folder], ["web1"], variables)], local).passed == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def helper(): pass",
        "import pytest\npytestmark = pytest.mark.skip('not here')\ndef test_a(host): pass",
        "import pytest\ndef test_a(host): pytest.skip('not here')",
    ],
)
def test_no_check_run_is_not_verified(write: Write, local: Runner, text: str) -> None:
    folder = write("checks/test_a.py", text)
    with pytest.raises(ChecksError, match="no check ran") as raised:
        verify.run([CheckSet([folder], ["web1"])], local)
    assert raised.value.code == "nothing_checked"
    assert ("not here" in "".join(raised.value.log)) == ("skip" in text)


def test_no_files_and_no_hosts_are_not_verified_either(write: Write, local: Runner, tmp_path: Path) -> None:
    folder = write("checks/test_a.py", "def test_a(host): pass")
    (tmp_path / "empty").mkdir()
    for check_set in (CheckSet([tmp_path / "empty"], ["web1"]), CheckSet([folder], []), CheckSet([], ["web1"])):
        with pytest.raises(ChecksError, match="no check ran"):
            verify.run([check_set], local)
    with pytest.raises(ChecksError, match=r"there is no .*elsewhere"):
        verify.run([CheckSet([tmp_path / "elsewhere"], ["web1"])], local)


def test_a_host_on_which_everything_was_skipped_is_named(write: Write, local: Runner) -> None:
    folder = write(
        "checks/test_a.py",
        """
        import pytest

        def test_a(host, deploy):
            if deploy.prefix:
                pytest.skip("a lab of processes has no systemd")
        """,
    )
    sets = [CheckSet([folder], ["web1"], {"prefix": ""}), CheckSet([folder], ["lab1"], {"prefix": "/tmp/lab"})]
    verification = verify.run(sets, local)
    assert (verification.passed, verification.skipped, verification.unchecked) == (1, 1, ("lab1",))
    assert verification.results[1].detail == "a lab of processes has no systemd"


def test_whatever_goes_wrong_around_a_check_fails_it(write: Write, local: Runner) -> None:
    folder = write("checks/test_import.py", "import module_that_nobody_has\n")
    write("checks/test_syntax.py", "def test_a(host:\n")
    write("checks/test_fixture.py", "def test_a(host, no_such_fixture): pass\n")
    write("checks/test_variable.py", "def test_a(host, deploy): assert deploy.no_such_variable\n")
    write(
        "checks/test_teardown.py",
        """
        import pytest

        @pytest.fixture
        def sour(): yield; assert False, "went sour"

        def test_a(host, sour): pass
        """,
    )
    verification = verify.run([CheckSet([folder], ["web1"])], local)
    assert verification.passed == 0
    details = {result.check.partition("/")[2].partition("::")[0]: result.detail for result in verification.failures}
    assert "module_that_nobody_has" in details["test_import.py"]
    assert "SyntaxError" in details["test_syntax.py"]
    assert "no_such_fixture" in details["test_fixture.py"]
    assert "no_such_variable" in details["test_variable.py"]
    assert "went sour" in details["test_teardown.py"]


def test_a_host_that_cannot_be_asked_fails_its_checks(write: Write, local: Runner) -> None:
    def cut(host: str, command: str) -> CommandResult:
        if host == "web2":
            raise ConnectionError("web2: the session ended")
        return local(host, command)

    folder = write("checks/test_a.py", "def test_a(host): host.check_output('true')\n")
    verification = verify.run([CheckSet([folder], ["web1", "web2"])], cut)
    assert [result.outcome for result in verification.results] == ["passed", "failed"]
    assert "web2: the session ended" in verification.failures[0].detail


def test_parameters_of_the_users_own_stay_in_the_name(write: Write, local: Runner) -> None:
    folder = write(
        "shop/checks/test_a.py",
        """
        import pytest

        @pytest.mark.parametrize("path", ["a-b", "c"])
        def test_a(host, path): pass

        def test_here(): pass
        """,
    )
    verification = verify.run([CheckSet([folder], ["web1"])], local)
    names = {(result.check.partition("::")[2], result.host) for result in verification.results}
    assert names == {("test_a[a-b]", "web1"), ("test_a[c]", "web1"), ("test_here", "")}


def test_the_junit_file_names_check_host_and_reason(write: Write, local: Runner, tmp_path: Path) -> None:
    folder = write("checks/test_name.py", ASKS_ITS_HOST)
    write("checks/test_zero.py", "import pytest\ndef test_zero(host): assert '\\0\\x1b<&' == deploy\n")
    write("checks/test_skip.py", "import pytest\ndef test_skip(): pytest.skip('not today')\n")
    out = tmp_path / "reports" / "junit.xml"
    sets = [CheckSet([folder], ["web1"], {"expected": "web1"})]
    verification = verify.run(sets, local, junitxml=out)
    suite = ElementTree.parse(out).getroot()[0]
    assert {name: suite.attrib[name] for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
    }
    cases = {case.attrib["name"].partition("::")[2]: case for case in suite}
    assert cases["test_it_answers_by_its_name"].attrib["classname"] == "web1"
    assert len(cases["test_it_answers_by_its_name"]) == 0
    assert cases["test_skip"][0].tag == "skipped"
    assert cases["test_skip"][0].attrib["message"] == "not today"
    assert cases["test_zero"][0].tag == "failure"
    assert cases["test_zero"][0].text == verification.failures[0].detail


def test_twenty_hosts_take_little_longer_than_one(write: Write, local: Runner) -> None:
    """pytest starts once for all of them."""
    folder = write("checks/test_name.py", ASKS_ITS_HOST)

    def took(hosts: int) -> float:
        sets = [CheckSet([folder], [f"web{number}"], {"expected": f"web{number}"}) for number in range(hosts)]
        began = time.monotonic()
        assert verify.run(sets, local, checker=checker).passed == hosts
        return time.monotonic() - began

    with verify.Checker() as checker:
        took(1)  # starts the process
        assert min(took(20) for _ in range(3)) < 10 * min(took(1) for _ in range(3))


def test_the_callers_settings_and_surroundings_do_not_count(
    write: Write, local: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write("shop/checks/test_a.py", "def test_a(host, ours): assert ours == 'ours'\n")
    write("shop/checks/conftest.py", "import pytest\n@pytest.fixture\ndef ours(): return 'ours'\n")
    write("shop/conftest.py", "raise RuntimeError('the conftest of the project was loaded')\n")
    write("shop/pytest.ini", "[pytest]\naddopts = --no-such-option\n")
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    before = dict(os.environ)
    assert verify.run([CheckSet([Path("checks")], ["web1"])], local).passed == 1
    assert dict(os.environ) == before
    assert sorted(path.name for path in folder.iterdir()) == ["conftest.py", "test_a.py"]  # no __pycache__ either
    assert not (tmp_path / "shop" / ".pytest_cache").exists()


def test_a_check_changed_since_the_last_run_is_read_again(write: Write, local: Runner) -> None:
    folder = write("checks/test_a.py", "def test_a(host): pass\n")
    assert verify.run([CheckSet([folder], ["web1"])], local).failed == 0
    write("checks/test_a.py", "def test_a(host): assert False\n")
    assert verify.run([CheckSet([folder], ["web1"])], local).failed == 1


def test_files_of_one_name_in_two_roles_are_both_run(write: Write, local: Runner) -> None:
    one = write("one/checks/test_a.py", "def test_a(host): pass\n")
    two = write("two/checks/test_a.py", "def test_a(host): assert False\n")
    verification = verify.run([CheckSet([one, two], ["web1"])], local)
    assert [(result.check, result.outcome) for result in verification.results] == [
        ("one/test_a.py::test_a", "passed"),
        ("two/test_a.py::test_a", "failed"),
    ]


@pytest.mark.filterwarnings("ignore:warned by a check")
def test_nothing_that_a_check_prints_reaches_our_output(
    write: Write, local: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write(
        "checks/test_a.py",
        """
        import sys, warnings

        def test_a(host):
            print("printed by a check")
            print("said by a check", file=sys.stderr)
            warnings.warn("warned by a check")
        """,
    )

    def loud(host: str, command: str) -> CommandResult:
        print("runner")
        return local(host, command)

    write("checks/test_b.py", "def test_b(host): host.run('true')\n")
    verify.run([CheckSet([folder], ["web1"])], loud, lambda result: print("result", result.outcome))
    captured = capfd.readouterr()
    assert captured.out.splitlines() == ["result passed", "runner", "result passed"]
    assert captured.err == ""


def test_another_thread_goes_on_printing_meanwhile(
    write: Write, local: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write("checks/test_a.py", "def test_a(host): print('hidden'); host.run('true')\n")
    asked, printed = threading.Event(), threading.Event()

    def live_view() -> None:
        asked.wait(10)
        print("live")
        printed.set()

    def slow(host: str, command: str) -> CommandResult:
        asked.set()
        assert printed.wait(10)
        return local(host, command)

    view = threading.Thread(target=live_view)
    view.start()
    verify.run([CheckSet([folder], ["web1"])], slow)
    view.join()
    assert capsys.readouterr().out == "live\n"


def test_it_works_in_other_threads_and_one_waits_for_the_other(write: Write, local: Runner) -> None:
    folder = write("checks/test_name.py", ASKS_ITS_HOST)
    passed: dict[str, int] = {}

    def verifying(name: str) -> None:
        passed[name] = verify.run([CheckSet([folder], [name], {"expected": name})], local).passed

    threads = [threading.Thread(target=verifying, args=(f"web{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed == {f"web{number}": 1 for number in range(4)}


def test_ctrl_c_in_a_check_interrupts_the_run(write: Write, local: Runner) -> None:
    def interrupted(host: str, command: str) -> CommandResult:
        raise KeyboardInterrupt

    folder = write("checks/test_a.py", "def test_a(host): host.run('true')\n")
    with pytest.raises(KeyboardInterrupt):
        verify.run([CheckSet([folder], ["web1"])], interrupted)


def test_a_check_that_stops_pytest_verifies_nothing(write: Write, local: Runner) -> None:
    folder = write("checks/test_a.py", "import pytest\ndef test_a(host): pytest.exit('enough')\n")
    with pytest.raises(ChecksError, match="pytest could not run the checks") as raised:
        verify.run([CheckSet([folder], ["web1"])], local)
    assert "enough" in raised.value.log[-1]


def test_an_outer_pytest_is_not_disturbed(write: Write, tmp_path: Path) -> None:
    """Another pytest run, its own tests named like the checks, verifies in the middle and then fails as it should."""
    write("inner/checks/test_same.py", "def test_same(host): assert host.run('exit 3').rc == 4\n")
    write("inner/checks/conftest.py", "")
    write(
        "outer/test_same.py",
        """
        import logging, sys, warnings
        from pathlib import Path

        import pytest

        from deployer import verify
        from deployer.verify import CheckSet, CommandResult

        INNER = [CheckSet([Path("../inner/checks").resolve()], ["h"])]

        @pytest.fixture
        def torn_down(fixture_of_conftest):
            yield 1
            Path("torn-down").write_text("yes")

        def test_verifies(torn_down, caplog, capsys, monkeypatch):
            monkeypatch.setenv("MINE", "1")
            modules = dict(sys.modules)
            result = verify.run(INNER, lambda *_: CommandResult(3, "", ""))
            assert result.failed == 1 and "assert 3 == 4" in result.failures[0].detail
            assert sys.modules["test_same"] is modules["test_same"] and sys.modules["conftest"] is modules["conftest"]
            logging.warning("logged after")
            assert "logged after" in caplog.text
            print("printed after")
            assert capsys.readouterr().out == "printed after\\n"
            with pytest.warns(UserWarning):
                warnings.warn("warned after")

        def test_fails_with_its_own_words():
            verify.run(INNER, lambda *_: CommandResult(4, "", ""))
            left = {"a": 1}
            assert left == {"a": 2}

        def test_passes(): pass
        """,
    )
    write("outer/conftest.py", "import pytest\n@pytest.fixture\ndef fixture_of_conftest(): return 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "test_same.py", "-v"],
        cwd=tmp_path / "outer",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed, 2 passed" in done.stdout
    assert "test_same.py::test_verifies PASSED" in done.stdout
    assert "test_same.py::test_fails_with_its_own_words FAILED" in done.stdout
    assert "assert {'a': 1} == {'a': 2}" in done.stdout
    assert (tmp_path / "outer" / "torn-down").read_text() == "yes"


def test_instance_checks_are_told_from_the_fleets_by_their_names(write: Write) -> None:
    for name in ("test_instance.py", "test_instance_unit.py", "test_host.py", "sub/test_fleet.py", "helper.py"):
        folder = write(f"checks/{name}", "")
    write("checks/__pycache__/test_instance_old.py", "")
    folder = folder if folder.name == "checks" else folder.parent
    names: dict[Any, list[str]] = {
        scope: [path.name for path in verify.find(folder, scope)] for scope in ("instance", "fleet", None)
    }
    assert names["instance"] == ["test_instance.py", "test_instance_unit.py"]
    assert names["fleet"] == ["test_fleet.py", "test_host.py"]
    assert sorted(names[None]) == sorted(names["instance"] + names["fleet"])
    assert verify.find(folder / "nowhere") == ()
