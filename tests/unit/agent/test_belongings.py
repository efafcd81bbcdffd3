"""What an app leaves behind on a host when it is taken off."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent.operation import OpError
from deployer.agent.site import links, ownership

RELEASE = "20240101T000000Z-aaaaaaaa"
WHO: dict[str, Any] = {"run": "run-1", "who": "me@here"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with a release that is current, secrets, and a file of a person's among the releases."""
    made = Host(tmp_path).set_up()
    made.push(RELEASE)
    links.point_current(made.site, RELEASE)
    made.call("secrets.write", b"export KEY='secret'\n")
    ownership.claim(made.site)
    (Path(made.site.shared) / "upload").write_text("of a user")
    return made


def test_all_goes_but_shared_files_and_history(host: Host) -> None:
    kept = host.call("belongings.remove", **WHO)["kept"]
    assert kept == [host.site.shared, host.site.state]
    assert sorted(os.listdir(host.site.root)) == [".deploy", "shared"]
    assert "secrets.env" not in os.listdir(host.site.state)
    assert (Path(host.site.shared) / "upload").read_text() == "of a user"


def test_so_does_the_folder_of_its_sockets(host: Host, tmp_path: Path) -> None:
    host.site = replace(host.site, prefix=str(tmp_path))
    os.makedirs(host.site.sockets)
    host.call("belongings.remove", **WHO)
    assert not os.path.exists(host.site.sockets)


def test_it_counts_as_removed_until_it_joins_again(host: Host) -> None:
    host.call("belongings.remove", **WHO)
    since = host.call("host.survey", brief=True)["owner"]["removed"]
    host.call("belongings.remove", run="run-2", who="another")
    assert since["who"] == "me@here" and host.call("host.survey", brief=True)["owner"]["removed"] == since
    assert host.call("site.join") == {"joined": True}
    assert host.call("host.survey", brief=True)["owner"] == {"app": "shop", "env": "prod"}
    assert host.call("site.join") == {"joined": False}


def test_a_host_that_goes_on_as_balancer_is_not_marked(host: Host) -> None:
    host.call("belongings.remove", balances=True, **WHO)
    assert "removed" not in host.call("host.survey", brief=True)["owner"]
    assert not os.path.exists(host.site.releases)


def test_what_a_stranger_put_among_the_releases_stays(host: Host) -> None:
    strange = Path(host.site.releases) / "notes"
    strange.mkdir()
    host.call("belongings.remove", **WHO)
    assert os.listdir(host.site.releases) == ["notes"]


def test_nothing_goes_while_a_slot_is_in_use(host: Host) -> None:
    links.point_slot(host.site, 8000, RELEASE)
    with pytest.raises(OpError, match="slots/8000") as refused:
        host.call("belongings.remove", **WHO)
    assert refused.value.code == "in_use" and os.path.exists(host.site.secrets) and os.path.islink(host.site.current)


def test_nothing_goes_while_a_process_runs_in_a_release(host: Host) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=host.site.release(RELEASE)) as stays:
        try:
            with pytest.raises(OpError, match=f"process {stays.pid}"):
                host.call("belongings.remove", **WHO)
        finally:
            stays.kill()
    assert os.path.islink(host.site.current)


def test_a_host_where_nothing_ever_was(tmp_path: Path) -> None:
    assert Host(tmp_path).call("belongings.remove", **WHO) == {"kept": []}
