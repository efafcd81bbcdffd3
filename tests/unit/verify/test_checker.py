"""The process that runs checks: whatever a check does to it, the run gets an answer, and nothing of it stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer import verify
from deployer.errors import ChecksError, InterruptedRun
from deployer.verify import Checker, CheckResult, CheckSet, CommandResult, Runner, checker

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("line", "why"),
    [("os._exit(0)", ""), ("os._exit(7)", "status 7"), ("os.kill(os.getpid(), 9)", "status -9"), ("os.abort()", "-6")],
)
def test_a_check_that_ends_its_process_is_an_error_and_the_next_round_works(
    write: Write, local: Runner, line: str, why: str
) -> None:
    ends = write("ends/test_a.py", f"import os\ndef test_a(host):\n    print('its last line')\n    {line}\n")
    good = write("good/test_a.py", "def test_a(host): pass\n")
    with Checker() as checker:
        with pytest.raises(ChecksError, match="pytest could not run the checks") as raised:
            verify.run([CheckSet([ends], ["web1"])], local, checker=checker)
        assert why in str(raised.value.cause)
        assert verify.run([CheckSet([good], ["web1"])], local, checker=checker).passed == 1


def test_a_check_that_hangs_is_an_error_after_a_while(write: Write, local: Runner) -> None:
    folder = write("checks/test_a.py", "import time\ndef test_a(host): time.sleep(600)\n")
    with Checker(silence=1.0) as checker, pytest.raises(ChecksError) as raised:
        verify.run([CheckSet([folder], ["web1"])], local, checker=checker)
    assert "within 1 s" in str(raised.value.cause)


def test_a_check_that_ignores_signals_ends_soon_after_a_request_to_stop(
    write: Write, local: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "STOPPING_S", 0.2)
    ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN), signal.signal(signal.SIGINT, signal.SIG_IGN)"
    body = f"    {ignores}\n    host.run('started')\n    time.sleep(600)\n"
    folder = write("checks/test_a.py", f"import signal, time\ndef test_a(host):\n{body}")
    stop = threading.Event()

    def start(host: str, command: str) -> CommandResult:
        stop.set()
        return CommandResult(0, "", "")

    with Checker(stop=stop) as process, pytest.raises(InterruptedRun, match="stopped by a person while checks ran"):
        verify.run([CheckSet([folder], ["web1"])], start, checker=process)


def test_a_check_that_is_about_to_end_ends_after_a_request_to_stop(write: Write, local: Runner) -> None:
    folder = write("checks/test_a.py", "def test_a(host): pass\n")
    stop = threading.Event()
    stop.set()
    with Checker(stop=stop) as process:
        assert verify.run([CheckSet([folder], ["web1"])], local, checker=process).passed == 1


def test_one_process_serves_many_rounds_and_they_do_not_see_each_other(write: Write, local: Runner) -> None:
    text = "import os, sys\ndef test_a(host):\n    assert 'LEFT' not in os.environ\n    os.environ['LEFT'] = '1'\n"
    folder = write("checks/test_a.py", text + "    host.run(f'echo {os.getppid()}')\n")
    parents: list[str] = []

    def note(host: str, command: str) -> CommandResult:
        parents.append(command)
        return local(host, command)

    with Checker() as checker:
        for _ in range(3):
            assert verify.run([CheckSet([folder], ["web1"])], note, checker=checker).passed == 1
    assert len(parents) == 3 and len(set(parents)) == 1


def test_it_has_no_terminal_and_no_input(write: Write, local: Runner) -> None:
    folder = write(
        "checks/test_a.py",
        """
        import os, sys

        import pytest

        def test_a(host):
            assert os.getsid(0) == os.getppid()
            with pytest.raises(OSError):
                os.open("/dev/tty", os.O_RDWR)
            assert sys.stdin.read() == ""
        """,
    )
    results: list[CheckResult] = []
    assert verify.run([CheckSet([folder], ["web1"])], local, results.append).passed == 1, results


def test_large_answers_and_odd_bytes_come_through(write: Write) -> None:
    odd = "é ✓ \udc80 \x00 \n second\u2028" + "x" * 3_000_000
    folder = write("checks/test_a.py", "def test_a(host): assert host.run('cat').stdout.endswith('x' * 3_000_000)\n")
    assert verify.run([CheckSet([folder], ["web1"])], lambda *_: CommandResult(0, odd, "")).passed == 1


def test_its_processes_end_with_deploy_however_that_ends(write: Write, tmp_path: Path) -> None:
    folder = write(
        "checks/test_a.py",
        "import os, time\ndef test_a(host): host.run(f'{os.getppid()} {os.getpid()}'); time.sleep(600)",
    )
    program = f"""
import os, signal
from pathlib import Path
from deployer import verify
def killed(host, command):
    print(command, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
verify.run([verify.CheckSet([Path({str(folder)!r})], ["web1"])], killed)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2 and done.returncode == -9
    ended = threading.Event()
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            break
        ended.wait(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_nothing_in_the_current_folder_is_imported_instead_of_ours(
    write: Write, local: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write("checks/test_a.py", "def test_a(host): pass\n")
    for name in ("pytest", "testinfra", "json", "deployer"):
        write(f"here/{name}.py", "raise RuntimeError('the wrong module')\n")
    monkeypatch.chdir(tmp_path / "here")
    assert os.listdir()
    assert verify.run([CheckSet([folder], ["web1"])], local).passed == 1
