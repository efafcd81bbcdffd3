"""Why no agent started: what hosts print, and the hint that helps in each case."""

from __future__ import annotations

import pytest

from deployer.remote.startup_failure import Startup

START = Startup("web1", "web.admin", "python3")


@pytest.mark.parametrize(
    ("stderr", "message", "hint"),
    [
        (
            "[sudo] password: \nSorry, try again.\nsudo: no password was provided",
            "rejected the password",
            "DEPLOY_SUDO_PASSWORD",
        ),
        ("sudo: a password is required", "sudo requires a password", "--ask-become-pass"),
        ("sudo: a terminal is required to read the password", "sudo requires a password", "--ask-become-pass"),
        (
            "sudo: sorry, you must have a tty to run sudo",
            "requiretty",
            "'Defaults:web.admin !requiretty' > /etc/sudoers.d/web_admin",
        ),
        (
            "web.admin is not in the sudoers file.\nsudo",
            "does not let web.admin become root",
            "web.admin ALL=(ALL:ALL) ALL",
        ),
        ("Sorry, user web.admin may not run sudo on web1.", "does not let web.admin become root", "ALL=(ALL:ALL) ALL"),
        (
            "Sorry, user web.admin is not allowed to execute '/usr/bin/python3' as root on web1. sudo",
            "does not let web.admin run Python as root",
            "web.admin ALL=(ALL:ALL) ALL",
        ),
        ("sh: 1: exec: sudo: not found", "sudo is not installed", "apt install sudo"),
    ],
)
def test_each_refusal_of_sudo_has_a_hint_of_its_own(stderr: str, message: str, hint: str) -> None:
    error = START.explain("", stderr, 1)
    assert error.code == "sudo" and message in error.message and hint in str(error.hint)
    assert list(error.log) == [line.rstrip() for line in stderr.splitlines()]
    assert ("-K" in str(error.hint)) == ("rejected" in message or "requires a password" in message)


def test_a_cloud_image_that_wants_another_user_says_which() -> None:
    said = 'Please login as the user "debian" rather than the user "root".\n\n'
    error = START.explain(said, "", 142)
    assert "does not accept web.admin" in error.message
    assert error.hint == "set ansible_user: debian in the inventory, or type -u debian"
    assert error.log == (said.strip(),)


def test_what_a_host_prints_on_stdout_is_shown() -> None:
    noise = "".join(f"line {number}\n" for number in range(30))
    error = START.explain("\x1b[1mThis account is closed.\x1b[0m\n" + noise, "bye\n", 3)
    assert error.message == "the agent did not start (exit status 3)"
    assert error.log[-2:] == ("line 29", "bye") and len(error.log) == 10
    assert START.explain("\x1b[1mclosed\x1b[0m\n", "", 3).log == ("closed",)


def test_no_python_and_one_too_old() -> None:
    assert START.explain("Welcome\n", "sh: python3: not found\n", 127).code == "no_python"
    assert START.explain("", "Unknown option: -I\n", 2).code == "old_python"
