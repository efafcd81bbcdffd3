"""Each instance comes back when its host is started anew."""

import pytest


def test_its_unit_starts_at_boot(host, deploy):
    if deploy.prefix or deploy.supervisor != "systemd":
        pytest.skip("this host's instances are not systemd's")
    for instance in deploy.instances:
        unit = instance["verbs"]["unit"]
        assert host.run("systemctl is-enabled %s", unit).stdout.strip() == "enabled", unit
