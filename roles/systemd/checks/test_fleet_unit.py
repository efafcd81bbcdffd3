"""Each instance comes back when its host is started anew."""

import pytest


def test_its_unit_starts_at_boot(host, deploy):
    if deploy.prefix or deploy.supervisor != "systemd":
        pytest.skip("this host's instances are not systemd's")
    for instance in deploy.instances:
        unit = instance["verbs"]["unit"]
        assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "enabled", unit


def test_its_processes_start_at_boot(host, deploy):
    started_at_boot(host, deploy, [(f"processes/{each['name']}@{each['number']}", each) for each in deploy.processes])


def test_its_schedules_start_at_boot(host, deploy):
    started_at_boot(host, deploy, [(f"schedules/{each['name']}", each) for each in deploy.schedules])


def started_at_boot(host, deploy, units):
    """Asserts that the units that are in use, which have a link, are enabled."""
    if deploy.prefix or deploy.supervisor != "systemd":
        pytest.skip("this host's instances are not systemd's")
    used = [each["verbs"]["unit"] for link, each in units if host.run("test -L %s", f"{deploy.root}/{link}").succeeded]
    if not used:
        pytest.skip("there are none on this host")
    shown = {unit: host.run("systemctl is-enabled %s", unit).stdout.strip() for unit in used}
    assert shown == dict.fromkeys(used, "enabled")


def test_its_port_is_held_as_the_strategy_says(host, deploy):
    if deploy.prefix or deploy.supervisor != "systemd":
        pytest.skip("this host's instances are not systemd's")
    for instance in deploy.instances:
        unit = instance["verbs"]["socket"]
        if not unit:
            pytest.skip("nothing can hold the port here")
        wanted = ["active", "enabled"] if instance["socket"] else ["inactive", "disabled"]
        shown = [host.run(f"systemctl {asked} %s", unit).stdout.strip() for asked in ("is-active", "is-enabled")]
        assert shown == wanted, unit
