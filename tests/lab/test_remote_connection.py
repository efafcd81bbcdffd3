"""Connecting to real sshds: whose key is trusted, who is let in, over which gateways, what is said when it fails."""

from __future__ import annotations

import pickle
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.loopback import Proxy, Sshd, free_port, keygen

from deployer.errors import DeployError, NotReadyError, UnreachableError, UntrustedHostError
from deployer.inventory.model import Host
from deployer.remote.dialer import Dialer
from deployer.remote.errors import AgentError, SessionLost
from deployer.remote.fleet import Fleet, FleetError
from deployer.remote.session import Session
from deployer.remote.trust import pin, scan

pytestmark = pytest.mark.lab
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"), kinds=("ed25519", "rsa"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[Sshd]:
    """A gateway that lets the same user key in."""
    server = Sshd(tmp_path_factory.mktemp("gate"))
    (server.folder / "authorized_keys").write_text((sshd.folder / "authorized_keys").read_text())
    yield server
    server.stop()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An SSH configuration that knows nothing of this machine's own."""
    path = tmp_path / "ssh_config"
    path.write_text("Host *\n  GlobalKnownHostsFile none\n  UserKnownHostsFile none\n  IdentityFile none\n")
    return path


def tried(host: Host, config: Path) -> DeployError:
    """The error of connecting to `host`."""
    with pytest.raises(DeployError) as caught:
        Dialer(config_file=str(config)).connect(host).close()
    return caught.value


def connects(host: Host, config: Path) -> bool:
    connection = Dialer(config_file=str(config)).connect(host)
    try:
        return bool(connection.is_connected)
    finally:
        connection.close()


def key_line(sshd: Sshd, kind: str = "ed25519") -> str:
    """`TYPE KEY` of the server."""
    return " ".join((sshd.folder / f"host_{kind}.pub").read_text().split()[:2])


def knows(sshd: Sshd, tmp_path: Path, *lines: str) -> Host:
    """The server as a host whose known_hosts has these lines."""
    path = tmp_path / "known_hosts"
    path.write_text("".join(line + "\n" for line in lines))
    return sshd.host(known_hosts=(str(path),))


# -- whose key it is -------------------------------------------------------------------------------------------------


def test_an_unknown_host_is_refused_and_its_fingerprint_shown(sshd: Sshd, config: Path) -> None:
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(sshd.folder / "host_ed25519.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    error = tried(sshd.host(known_hosts=()), config)
    assert isinstance(error, UntrustedHostError)
    assert (error.code, error.exit_status) == ("key_unknown", 3)
    assert shown in error.message
    assert "deploy trust" in (error.hint or "")


def test_a_changed_key_is_refused_with_both_fingerprints(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other").with_suffix(".pub").read_text()
    error = tried(knows(sshd, tmp_path, f"[127.0.0.1]:{sshd.port} {other}"), config)
    assert error.code == "key_changed"
    assert error.message.count("SHA256:") == 2


def test_a_revoked_key_is_refused_though_it_is_known(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    line = f"[127.0.0.1]:{sshd.port} {key_line(sshd)}"
    assert tried(knows(sshd, tmp_path, line, f"@revoked * {key_line(sshd)}"), config).code == "revoked"


def test_lines_that_paramiko_does_not_know_do_not_void_the_others(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    lines = (
        f"@cert-authority *.example.com {key_line(sshd)}",
        f"@revoked old.example.com {key_line(sshd)}",
        "# a comment",
        "rubbish",
        "web1 ssh-future AAAA====x",
        f"[127.0.0.1]:{sshd.port} {key_line(sshd)}",
    )
    assert connects(knows(sshd, tmp_path, *lines), config)


def test_a_certificate_authority_alone_trusts_nobody_and_is_told(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    error = tried(knows(sshd, tmp_path, f"@cert-authority * {key_line(sshd)}"), config)
    assert error.code == "key_unknown"
    assert "certificate authorities" in (error.cause or "")


def test_hashed_names_patterns_and_bare_names_are_found(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    host = knows(sshd, tmp_path, f"[127.0.0.1]:{sshd.port} {key_line(sshd)}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "known_hosts")], check=True, capture_output=True)
    assert "|1|" in (tmp_path / "known_hosts").read_text()
    assert connects(host, config)
    assert connects(knows(sshd, tmp_path, f"[127.0.0.*]:{sshd.port} {key_line(sshd)}"), config)
    assert connects(knows(sshd, tmp_path, f"127.0.0.1 {key_line(sshd)}"), config)
    assert tried(knows(sshd, tmp_path, f"!127.0.0.1,127.* {key_line(sshd)}"), config).code == "key_unknown"


def test_a_host_of_which_only_the_second_key_is_known(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    assert connects(knows(sshd, tmp_path, f"[127.0.0.1]:{sshd.port} {key_line(sshd, 'rsa')}"), config)


def test_an_alias_and_the_users_own_known_hosts_file_count(sshd: Sshd, config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(f"the-alias {key_line(sshd)}\n")
    config.write_text(f"Host *\n  HostKeyAlias the-alias\n  UserKnownHostsFile {tmp_path}/mine\n")
    assert connects(sshd.host(known_hosts=()), config)


def test_a_scanned_and_pinned_host_is_trusted_and_a_changed_key_never_replaced_silently(
    sshd: Sshd, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "inventories" / "known_hosts"
    host = sshd.host(known_hosts=(str(file),))
    keys = scan(host, Dialer(config_file=str(config)))
    assert [key.type for key in keys] == ["ssh-ed25519", "ssh-rsa"]
    assert len(pin(keys, file)) == 2
    before = file.read_text()
    assert connects(host, config)
    assert pin(keys, file) == []
    assert file.read_text() == before

    other = " ".join(keygen(tmp_path / "other").with_suffix(".pub").read_text().split()[:2])
    file.write_text(f"# mine\n[127.0.0.1]:{sshd.port} {other}\nweb9 {other}\n")
    with pytest.raises(UntrustedHostError):
        pin(keys, file)
    assert "# mine" in file.read_text() and not connects_quietly(host, config)
    pin(keys, file, replace=True)
    assert connects(host, config)
    assert file.read_text().splitlines()[:2] == ["# mine", f"web9 {other}"]


def connects_quietly(host: Host, config: Path) -> bool:
    try:
        return connects(host, config)
    except DeployError:
        return False


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
            results = fleet.each(hosts, "command.run", {"command": "echo $SSH_CONNECTION"})
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
    far = Proxy(sshd.port, delay=0.025)
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
            assert time.monotonic() - began < 15 * 0.05
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
        results = fleet.each(
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
