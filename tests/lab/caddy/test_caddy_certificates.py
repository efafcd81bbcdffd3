"""Caddy gets certificates itself: from its own authority, and from a real ACME server that looks at it first."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.x509 import load_der_x509_certificate
from support.caddy import real_caddy
from support.certificates import Authority
from support.labs import fresh_name
from support.loopback import free_port
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

QUICK = {
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [2]},
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A web host and a Caddy, each an sshd and a supervisord."""
    real_caddy()
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=1, balancer="caddy"), print)
    finally:
        down(name, print)


@pytest.fixture(scope="module")
def acme(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Pebble (ACME, RFC 8555), for which every name is the balancer: its directory, and the root it signs with."""
    if not shutil.which("pebble"):
        pytest.skip("needs Debian's package pebble")
    folder = tmp_path_factory.mktemp("pebble")
    own = Authority(folder)
    made = own.signs("localhost", days=3)
    (folder / "cert.pem").write_text(made.pem)
    (folder / "key.pem").write_text(made.key)
    listens, manages, dns, hooks = (free_port() for _ in range(4))
    address = lab.address.partition(":")[0]
    settings = {
        "listenAddress": f"127.0.0.1:{listens}",
        "managementListenAddress": f"127.0.0.1:{manages}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": 8080,
        "tlsPort": 8443,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    names = ["pebble-challtestsrv", "-defaultIPv4", address, "-defaultIPv6", "", "-dns01", f"127.0.0.1:{dns}"]
    names += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{hooks}"]
    server = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    with (folder / "log").open("w") as log:
        started = [subprocess.Popen(words, stdout=log, stderr=log) for words in (names, server)]
        try:
            trusts = ssl.create_default_context(cafile=str(own.file))
            root = until("pebble answers", lambda: asked(f"https://localhost:{manages}/roots/0", trusts))
            # Caddy trusts what its host trusts; hosts of processes share this machine's own store.
            program = Path(lab.folder) / "hosts/lb1/root/etc/supervisor/conf.d/caddy.conf"
            program.write_text(program.read_text() + f'environment = SSL_CERT_FILE="{own.file}"\n')
            lab.exec("lb1", ["supervisorctl", "update"])
            yield f"https://localhost:{listens}/dir", root
        finally:
            for process in started:
                process.kill()
                process.wait()


def asked(url: str, trusts: ssl.SSLContext) -> str:
    """The text there; empty while nobody answers."""
    try:
        with urllib.request.urlopen(url, context=trusts, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def until(what: str, holds: Callable[[], str], within: float = 90.0) -> str:
    ends = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < ends, f"not within {within:g} s: {what}"
        time.sleep(0.1)
    return found


def issuer(lab: Lab, name: str, trusts: ssl.SSLContext) -> str:
    """Who signed what is presented for a name; empty for nothing, or for nothing that is trusted."""
    address = lab.address.partition(":")[0]
    try:
        with (
            socket.create_connection((address, 8443), timeout=10) as plain,
            trusts.wrap_socket(plain, server_hostname=name) as client,
        ):
            return load_der_x509_certificate(client.getpeercert(binary_form=True) or b"").issuer.rfc4514_string()
    except (ssl.SSLError, ConnectionError):
        return ""


def test_its_own_authority_and_then_an_acme_server(
    lab: Lab, acme: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {**QUICK, "domains": ["shop.test"], "tls": {"issuer": "internal"}}
    shop = Project(tmp_path / "shop", lab.name, "shop", inside)
    shop.deploy("setup")
    first = shop.deploy("push").release
    root = Path(lab.folder) / "hosts/lb1/root/var/lib/deploy-caddy/caddy/pki/authorities/local/root.crt"
    trusts = ssl.create_default_context(cafile=str(root))
    assert "Caddy Local Authority" in until("a certificate of its own", lambda: issuer(lab, "shop.test", trusts))
    assert issuer(lab, "other.test", trusts) == ""
    assert shop.deploy("setup").last["outcome"] == "unchanged"
    monkeypatch.setenv("SSL_CERT_FILE", str(root))
    with traffic(
        f"{lab.address.partition(':')[0]}:8443",
        tmp_path / "log",
        scheme="https",
        host_header="shop.test",
        rate=10,
        limit=30,
    ) as users:
        shop.version(2)
        second = shop.deploy("push").release
    users.demand(proven={first, second}, at_least=50, rate=1)
    shop.deploy("verify")
    status = shop.deploy("status")
    assert not [each for each in status.of("warning") if "certificate" in each["message"]], status.summary

    url, signer = acme
    other = {**QUICK, "app": "notes", "port": 8200, "domains": ["notes.test"], "tls": {"issuer": url}}
    notes = Project(tmp_path / "notes", lab.name, "notes", other)
    notes.deploy("setup")
    outside = ssl.create_default_context(cadata=signer)
    assert "Pebble" in until("a certificate of the ACME server", lambda: issuer(lab, "notes.test", outside))
    assert "Caddy Local Authority" in issuer(lab, "shop.test", trusts)
    notes.deploy("push")
    notes.deploy("verify")
