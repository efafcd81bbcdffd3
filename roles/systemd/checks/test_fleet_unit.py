"""Each instance comes back when its host is started anew."""

import pytest


def test_its_unit_starts_at_boot(host, deploy):
    if deploy.prefix or deploy.supervisor != "systemd":
        pytest.skip("this host's instances are not systemd's")
    for instance in deploy.instances:
        unit = instance["verbs"]["unit"]
        assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "enabled", unit


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
