"""Hosts behind real sshds: how fast they are reached, what they lack, and many of them at once."""

from __future__ import annotations

import pickle
import shlex
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.agents import PYTHON
from support.dialling import key_line, knows
from support.loopback import Proxy, Sshd, free_port

from deployer.errors import NotReadyError, UnreachableError
from deployer.remote.errors import AgentError, SessionLost
from deployer.remote.fleet import Fleet, FleetError
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

pytestmark = pytest.mark.lab


# -- speed -----------------------------------------------------------------------------------------------------------


def test_the_connection_is_tuned(sshd: Sshd, config: Path) -> None:
    connection = Dialer(config_file=str(config)).connect(sshd.host())
    try:
        transport = connection.transport
        assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert transport.local_cipher == "aes128-gcm@openssh.com"
        assert transport.get_security_options().kex[0].startswith("curve25519")
    finally:
        connection.close()


def test_far_hosts_are_reached_at_the_same_time(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    far = Proxy(sshd.port, delay=0.1)
    try:
        host = knows(sshd, tmp_path, f"[127.0.0.1]:{far.port} {key_line(sshd)}")
        hosts = [replace(host, name=f"web{n}", python=PYTHON, ssh=replace(host.ssh, port=far.port)) for n in range(8)]
        began = time.monotonic()
        with Session.open(hosts[0], dialer=Dialer(config_file=str(config))):
            alone = time.monotonic() - began
        began = time.monotonic()
        with Fleet.open(hosts, dialer=Dialer(config_file=str(config))) as fleet:
            assert time.monotonic() - began < 4 * alone
            began = time.monotonic()
            pending = [fleet["web0"].request("command.run", {"command": ["true"]}) for _ in range(15)]
            assert all(one.result(20)["exit"] == 0 for one in pending)
            assert time.monotonic() - began < 15 * 0.2
    finally:
        far.close()


# -- Python on the host ----------------------------------------------------------------------------------------------


def test_a_host_without_python(sshd: Sshd, config: Path) -> None:
    with pytest.raises(NotReadyError) as caught:
        Session.open(sshd.host(python="/nowhere/python3"), dialer=Dialer(config_file=str(config)))
    assert caught.value.code == "no_python"
    assert "ansible_python_interpreter" in (caught.value.hint or "")


def test_a_host_with_an_old_python(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    old = tmp_path / "python 3.6"
    pretend = 'import sys; sys.version_info=(3,6,9); code=sys.argv[2]; sys.argv=["-c"]+sys.argv[3:]; exec(code)'
    old.write_text(f'#!/bin/sh\nexec {PYTHON} -ISc {shlex.quote(pretend)} "$@"\n')
    old.chmod(0o755)
    with pytest.raises(NotReadyError) as caught:
        Session.open(sshd.host(python=str(old)), dialer=Dialer(config_file=str(config)))
    assert caught.value.code == "old_python"
    assert "3.6" in caught.value.message


def test_a_user_who_may_not_run_programs(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    server = Sshd(tmp_path / "closed", "MaxSessions 0")
    try:
        with pytest.raises(UnreachableError, match="no program can be run"):
            Session.open(server.host(python=PYTHON), dialer=Dialer(config_file=str(config)))
    finally:
        server.stop()


# -- fleets ----------------------------------------------------------------------------------------------------------


def test_every_host_that_fails_is_named_at_once(sshd: Sshd, config: Path) -> None:
    hosts = [sshd.host("web1", python=PYTHON), sshd.host("web2", port=free_port()), sshd.host("web3", known_hosts=())]
    with pytest.raises(FleetError) as caught:
        Fleet.open(hosts, dialer=Dialer(config_file=str(config)))
    assert caught.value.exit_status == 3
    assert "web2" in caught.value.message and "web3" in caught.value.message and "web1" not in caught.value.message
    assert {name: error.code for name, error in caught.value.failures.items()} == {
        "web2": "refused",
        "web3": "key_unknown",
    }
    with Fleet.open(hosts, partial=True, dialer=Dialer(config_file=str(config))) as fleet:
        assert list(fleet) == ["web1"]
        assert sorted(fleet.failures) == ["web2", "web3"]


def test_one_answer_for_every_host_also_for_those_that_fail(sshd: Sshd, config: Path) -> None:
    hosts = [sshd.host(f"web{number}", python=PYTHON) for number in range(4)]
    heard: list[tuple[str, str]] = []
    with Fleet.open(hosts, dialer=Dialer(config_file=str(config))) as fleet:
        fleet["web3"].kill()
        results = fleet.run_on_hosts(
            hosts,
            "command.run",
            lambda host: {
                "command": f"echo {host.name}; cat; sleep {5 if host.name == 'web2' else 0}",
                "timeout": 0.5,
                "stream": True,
            },
            body=lambda host: host.name.upper().encode() if host.name == "web1" else None,
            on_event=lambda host, event: heard.append((host.name, event["line"])),
        )
        assert list(results) == ["web0", "web1", "web2", "web3"]
        assert results["web0"].ok and ("web1", "WEB1") in heard and ("web0", "web0") in heard
        assert isinstance(results["web2"].error, AgentError) and results["web2"].error.code == "timeout"
        with pytest.raises(SessionLost):
            results["web3"].unwrap()
        assert fleet.stale(5.0) == ["web3"]
        copied = pickle.loads(pickle.dumps(results))
        assert copied["web2"].error.host == "web2" and copied["web2"].error.code == "timeout"
        assert copied["web3"].error.hint == results["web3"].error.hint  # type: ignore[union-attr]


def test_fabric_itself_works_on_the_connection(sshd: Sshd, config: Path) -> None:
    connection = Dialer(config_file=str(config)).connect(sshd.host())
    try:
        assert connection.run("echo hello", hide=True, in_stream=False).stdout == "hello\n"
    finally:
        connection.close()


def test_the_password_reaches_sudo_alone(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    """What sudo shows to us; that real sudo behaves so is tested on machines."""
    record = tmp_path / "record"
    fake = tmp_path / "bin" / "sudo"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$@" > {record}; env >> {record}\n'
        'while [ "$1" != -- ]; do [ "$1" = -p ] && prompt=$2; shift; done; shift\n'
        'printf %s "$prompt" >&2; IFS= read -r given\n'
        '[ "$given" = "right pass" ] || { printf "Sorry, try again.\\n%s" "$prompt" >&2; read -r given; exit 1; }\n'
        'exec "$@"\n'
    )
    fake.chmod(0o755)
    shell = tmp_path / "not-root"
    shell.write_text(f'#!/bin/sh\nPATH={fake.parent}:$PATH; export PATH\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    identity = tmp_path / "bin" / "id"
    identity.write_text("#!/bin/sh\necho 1000\n")
    for path in (shell, identity):
        path.chmod(0o755)
    server = Sshd(tmp_path / "sudo", f"ForceCommand {shell}")
    try:
        host = server.host(python=PYTHON, become=True)
        with Session.open(host, dialer=Dialer(config_file=str(config)), sudo_password="right pass") as agent:
            assert agent.call("command.run", {"command": ["true"]})["exit"] == 0
        assert record.exists() and "right pass" not in record.read_text()
        with pytest.raises(NotReadyError) as caught:
            Session.open(host, dialer=Dialer(config_file=str(config)), sudo_password="wrong")
        assert caught.value.code == "sudo"
        assert "DEPLOY_SUDO_PASSWORD" in (caught.value.hint or "")
    finally:
        server.stop()
