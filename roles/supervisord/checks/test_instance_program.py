"""supervisord runs each instance."""

import pytest


def test_its_program_is_running(host, deploy):
    if deploy.supervisor != "supervisord":
        pytest.skip("this host's instances are not supervisord's")
    for instance in deploy.instances:
        *control, _, program = instance["verbs"]["pid"]
        command = " ".join(["%s"] * len(control))
        said = host.run(command + " status %s", *control, program).stdout.strip()
        assert said.split()[1:2] == ["RUNNING"], said or f"supervisord does not answer for {program}"
