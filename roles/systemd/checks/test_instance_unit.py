"""systemd runs each instance, by the unit that lies on the disk."""

import pytest


@pytest.fixture(autouse=True)
def systemd(deploy):
    if deploy.prefix or deploy.supervisor != "systemd":
        pytest.skip("this host's instances are not systemd's")


def test_its_unit_is_active(host, deploy):
    for instance in deploy.instances:
        shown = properties(host, instance, "ActiveState", "SubState")
        assert shown == {"ActiveState": "active", "SubState": "running"}, instance["verbs"]["unit"]


def test_its_unit_is_the_one_on_the_disk(host, deploy):
    for instance in deploy.instances:
        assert properties(host, instance, "NeedDaemonReload") == {"NeedDaemonReload": "no"}


def properties(host, instance, *names):
    options = [word for name in names for word in ("--property", name)]
    command = " ".join(["systemctl", "show", *["%s"] * len(options), "%s"])
    lines = host.check_output(command, *options, instance["verbs"]["unit"]).splitlines()
    return dict(line.split("=", 1) for line in lines)
