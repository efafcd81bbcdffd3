"""Connecting to real sshds: who is let in, over which gateways, what is said when there is nobody."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.agents import PYTHON
from support.dialling import connects, key_line, knows, tried
from support.loopback import Proxy, Sshd, free_port, keygen

from deployer.errors import UnreachableError
from deployer.inventory.model import Host
from deployer.remote.fleet import Fleet
from deployer.remote.ssh.dialer import Dialer

pytestmark = pytest.mark.lab


# -- who is let in ---------------------------------------------------------------------------------------------------


def test_a_key_that_the_host_does_not_know(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    error = tried(sshd.host(keys=(str(keygen(tmp_path / "stranger")),)), config)
    assert (type(error), error.code) == (UnreachableError, "auth")
    assert "stranger was refused" in (error.cause or "")
    assert "ssh-copy-id" in (error.hint or "")


def test_a_key_with_a_passphrase_is_named_and_works_from_an_agent(
    sshd: Sshd, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.write_bytes(sshd.key.read_bytes())
    locked.chmod(0o600)
    (tmp_path / "locked.pub").write_bytes((sshd.folder / "user.pub").read_bytes())
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(locked)], check=True, capture_output=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "passphrase" in (tried(sshd.host(keys=(str(locked),)), config).cause or "")

    # With many strange keys before it, only IdentitiesOnly finds it before sshd loses patience.
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        for _ in range(200):
            if (tmp_path / "agent").exists():
                break
            time.sleep(0.02)
        strangers = [str(keygen(tmp_path / f"stranger{number}")) for number in range(8)]
        subprocess.run(["ssh-add", "-q", *strangers, str(sshd.key)], check=True, capture_output=True)
        config.write_text(f"Host *\n  IdentitiesOnly yes\n  IdentityFile {locked}\n")
        assert connects(sshd.host(keys=()), config)
        config.write_text("Host *\n  IdentityFile none\n")
        assert connects(sshd.host(keys=(str(locked),)), config)
        monkeypatch.delenv("SSH_AUTH_SOCK")
        config.write_text(f"Host *\n  IdentityFile none\n  IdentityAgent {tmp_path}/agent\n")
        assert connects(sshd.host(keys=(str(locked),)), config)
    finally:
        agent.terminate()
        agent.wait(10)


def test_one_key_for_many_hosts_is_offered_once_to_each(tmp_path: Path, config: Path) -> None:
    server = Sshd(tmp_path / "strict", "MaxAuthTries 2")
    try:
        with Fleet.open([server.host(f"web{n}") for n in range(12)], dialer=Dialer(config_file=str(config))) as fleet:
            assert len(fleet) == 12
    finally:
        server.stop()


# -- what is said when there is nobody -------------------------------------------------------------------------------


def test_refused_unknown_and_silent_places_are_told_apart(sshd: Sshd, config: Path) -> None:
    assert tried(sshd.host(port=free_port()), config).code == "refused"
    assert tried(sshd.host(hostname="no-such-host.invalid"), config).code == "dns"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        error = tried(sshd.host(port=silent.getsockname()[1], connect_timeout_s=1.0), config)
        assert error.code == "timeout"
        assert time.monotonic() - began < 4


def test_a_place_that_hangs_up_is_no_ssh_server(sshd: Sshd, config: Path) -> None:
    proxy = Proxy(free_port())
    try:
        assert tried(sshd.host(port=proxy.port), config).code in ("closed", "timeout")
    finally:
        proxy.close()


def test_sshd_hangs_up_on_some_when_many_come_at_once_and_all_get_in(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    """Above MaxStartups sshd closes connections before its banner; the proxy does so with the first three."""
    rude = Proxy(sshd.port, rude=3)
    try:
        host = knows(sshd, tmp_path, f"[127.0.0.1]:{rude.port} {key_line(sshd)}")
        hosts = [replace(host, name=f"web{n}", ssh=replace(host.ssh, port=rude.port)) for n in range(3)]
        with Fleet.open(hosts, dialer=Dialer(config_file=str(config))) as fleet:
            assert len(fleet) == 3
        assert rude.accepted == 6
    finally:
        rude.close()


# -- gateways --------------------------------------------------------------------------------------------------------


def behind(sshd: Sshd, gate: Sshd, **changes: str) -> Host:
    known = (str(sshd.known_hosts), str(gate.known_hosts))
    host = sshd.host(keys=(str(sshd.key),), **changes)
    return replace(host, ssh=replace(host.ssh, known_hosts=known))


def test_one_gateway_connection_serves_all_hosts(sshd: Sshd, gate: Sshd, config: Path) -> None:
    counted = Proxy(gate.port)
    gate.pin(counted.port)
    try:
        base = behind(sshd, gate, gateway=f"127.0.0.1:{counted.port}")
        hosts = [replace(base, name=f"web{number}", python=PYTHON) for number in range(8)]
        with Fleet.open(hosts, dialer=Dialer(config_file=str(config))) as fleet:
            results = fleet.run_on_hosts(hosts, "command.run", {"command": "echo $SSH_CONNECTION"})
            assert all(result.unwrap()["exit"] == 0 for result in results.values())
        assert counted.accepted == 1
    finally:
        counted.close()
        gate.pin()


def test_a_chain_is_dialled_in_the_order_it_is_written(sshd: Sshd, gate: Sshd, config: Path, tmp_path: Path) -> None:
    """Through the gate to the gate's neighbour to the host: only in this order do the keys fit the ports."""
    between = Proxy(gate.port)
    known = tmp_path / "known"
    known.write_text(
        f"[127.0.0.1]:{gate.port} {key_line(gate)}\n[127.0.0.1]:{between.port} {key_line(gate)}\nfar {key_line(sshd)}\n"
    )
    config.write_text(
        f"Host far\n  HostName 127.0.0.1\n  HostKeyAlias far\n"
        f"  ProxyJump 127.0.0.1:{gate.port},127.0.0.1:{between.port}\nHost *\n  UserKnownHostsFile {known}\n"
    )
    try:
        connection = Dialer(config_file=str(config)).connect(sshd.host(hostname="far", known_hosts=()))
        assert connection.target.via.port == between.port
        assert connection.target.via.via.port == gate.port
        assert connection.target.via.via.via is None
        peer = connection.run("echo $SSH_CONNECTION", hide=True, in_stream=False).stdout.split()[0]
        assert peer == "127.0.0.1"
        connection.close()
    finally:
        between.close()


def test_jump_hosts_of_the_configuration_are_used_and_none_means_none(
    sshd: Sshd, gate: Sshd, config: Path, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    known.write_text(sshd.known_hosts.read_text() + f"the-gate {key_line(gate)}\n")
    include = tmp_path / "included"
    include.write_text(f"Host the-gate\n  HostName 127.0.0.1\n  Port {gate.port}\n  HostKeyAlias the-gate\n")
    config.write_text(
        f"Include {include}\nHost 127.0.0.1\n  ProxyJump the-gate\nHost direct\n  ProxyJump none\n"
        f"Host *\n  UserKnownHostsFile {known}\n  HostName 127.0.0.1\n"
    )
    connection = Dialer(config_file=str(config)).connect(sshd.host(known_hosts=()))
    assert connection.target.via.port == gate.port
    connection.close()
    assert Dialer(config_file=str(config)).target(sshd.host(hostname="direct")).via is None


def test_a_proxy_command_is_run_with_its_tokens(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def out():\n"
        "    while data := s.recv(65536): os.write(1, data)\n"
        "threading.Thread(target=out, daemon=True).start()\n"
        "while data := os.read(0, 65536): s.sendall(data)\n"
    )
    host = sshd.host(proxy_command=f"{PYTHON} {shlex.quote(str(relay))} %h %p")
    assert connects(host, config)


def test_an_untrusted_gateway_is_refused_by_its_own_name(sshd: Sshd, gate: Sshd, config: Path) -> None:
    error = tried(sshd.host(gateway=f"127.0.0.1:{gate.port}"), config)
    assert error.code == "key_unknown"
    assert "gateway" in (error.host or "")
