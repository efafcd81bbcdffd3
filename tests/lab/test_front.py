"""What users meet at each balancer, without root: TLS with a given certificate, its renewal, maintenance."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import load_der_x509_certificate
from support.balanced import until
from support.caddy import real_caddy
from support.certificates import Authority, Made
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

QUICK = {
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [2], "max_unavailable": 1},
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=pytest.mark.more) for kind in ("haproxy", "nginx", "caddy")],
)
def kind(request: pytest.FixtureRequest) -> str:
    """The balancer's kind."""
    return str(request.param)


@pytest.fixture(scope="module")
def lab(kind: Literal["haproxy", "nginx", "caddy"]) -> Iterator[Lab]:
    """Two web hosts and a balancer, each an sshd and a supervisord."""
    if kind == "caddy":
        real_caddy()
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=2, balancer=kind), print)
    finally:
        down(name, print)


class Front:
    """The balancer as clients meet it."""

    def __init__(self, lab: Lab, authority: Authority) -> None:
        self.trusted = authority.file
        self.address = lab.address.partition(":")[0]
        self.port = 8443
        self.context = ssl.create_default_context(cafile=str(authority.file))
        self.context.set_alpn_protocols(["h2", "http/1.1"])

    def handshake(self, name: str | None) -> tuple[str, str]:
        """SHA-256 of the certificate that is presented for that name, and the protocol agreed on; ssl.SSLError."""
        self.context.check_hostname = name is not None
        with (
            socket.create_connection((self.address, self.port), timeout=10) as plain,
            self.context.wrap_socket(plain, server_hostname=name) as client,
        ):
            der = client.getpeercert(binary_form=True)
            assert der is not None
            return load_der_x509_certificate(der).fingerprint(
                hashes.SHA256()
            ).hex(), client.selected_alpn_protocol() or ""

    def refuses(self, name: str | None) -> bool:
        """Whether there is no certificate for that name."""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self.handshake(name)
            return False
        return True

    def get(self, name: str, path: str, host: str = "", *, secure: bool = True) -> tuple[int, str, str]:
        """Status, Location and text of one request; the certificate has to be for `name`."""
        if secure:
            context = ssl.create_default_context(cafile=str(self.trusted))
            raw = socket.create_connection((self.address, self.port), timeout=10)
            connection = http.client.HTTPConnection(name)
            connection.sock = context.wrap_socket(raw, server_hostname=name)
        else:
            connection = http.client.HTTPConnection(self.address, 8080, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": host or name})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Location") or "", answer.read().decode()

    def ask(self, name: str, method: str) -> tuple[int, http.client.HTTPMessage, str]:
        """Status, headers and text of one plain request."""
        connection = http.client.HTTPConnection(self.address, 8080, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, "/", "x=1" if method == "POST" else None, headers={"Host": name})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def serves(self, name: str) -> bool:
        """Whether the app of that name answers."""
        with contextlib.suppress(OSError):
            return self.ask(name, "GET")[0] == 200
        return False


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def front(lab: Lab, authority: Authority) -> Front:
    return Front(lab, authority)


def put(project: Project, made: Made) -> dict[str, str]:
    """The certificate lies in the project; what comes back is the environment that has its key."""
    (project.folder / "shop.pem").write_text(made.pem)
    project.commit("a certificate")
    return {"SHOP_TLS_KEY": made.key}


def test_a_certificate_is_served_renewed_and_kept_apart(
    kind: str, lab: Lab, front: Front, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    secured = {
        **QUICK,
        "domains": ["shop.test", "www.shop.test"],
        "tls": {"certificate": "shop.pem", "key": "SHOP_TLS_KEY"},
        "secrets": {"SHOP_TLS_KEY": {"env": "SHOP_TLS_KEY"}},
    }
    shop = Project(tmp_path / "shop", lab.name, "shop", secured)
    old, new = authority.signs("shop.test", "*.shop.test", days=10), authority.signs("shop.test", "*.shop.test")
    env = put(shop, old)
    first = shop.deploy("setup", env=env)
    assert any("ends on" in each["message"] for each in first.of("warning")), first.summary
    release = shop.deploy("push", env=env).release

    assert front.handshake("shop.test") == (old.sha256, "h2")
    assert front.handshake("www.shop.test")[0] == old.sha256
    assert front.refuses("other.shop.test") and front.refuses("elsewhere.test") and front.refuses(None)
    status, _, text = front.get("shop.test", "/version")
    assert status == 200 and json.loads(text)["release"] == release
    assert front.get("shop.test", "/", host="elsewhere.test")[0] in (404, 421)
    assert front.get("shop.test", "/a%20b?c=d&e", secure=False)[:2] == (308, "https://shop.test:8443/a%20b?c=d&e")
    assert front.get("shop.test", "/.well-known/acme-challenge/x", secure=False)[0] == 404, "the app's own answer"

    notes = Project(tmp_path / "notes", lab.name, "notes", {**QUICK, "domains": ["notes.test"], "port": 8200})
    notes.deploy("setup")
    notes.deploy("push")
    assert front.get("notes.test", "/", secure=False)[0] == 200
    assert front.refuses("notes.test"), "it has no certificate, and no other app's is shown"
    assert front.get("shop.test", "/", host="notes.test")[0] in (404, 421)

    with traffic(f"{front.address}:8443", tmp_path / "log", scheme="https", host_header="shop.test") as users:
        env = put(shop, new)
        planned = shop.deploy("plan", env=env)
        renewed = shop.deploy("setup", env=env)
        again = shop.deploy("setup", env=env)
        shop.version(2)
        second = shop.deploy("push", env=env)
    # A reload of nginx closes idle connections, as docs/balancers.md says; nobody's request is lost.
    users.demand(proven={release, second.release}, at_least=100, stale=0 if kind != "nginx" else 40)
    assert renewed.last["outcome"] == "succeeded" and again.last["outcome"] == "unchanged"
    assert front.handshake("shop.test")[0] == new.sha256
    shown = json.dumps(planned.events)
    assert "certificate of shop.test, *.shop.test, until" in shown
    told = "".join(json.dumps(done.events) + done.stderr for done in (first, planned, renewed, again, second))
    secret = new.key.splitlines()[1]
    assert secret not in told and old.key.splitlines()[1] not in told
    shop.deploy("verify", env=env)
    lines = shop.show("status", env=env).splitlines()
    assert any(line.startswith("https: certificate of shop.test, *.shop.test, until") for line in lines), lines

    holding = [path for path in Path(lab.folder).rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert len(holding) == 1, holding
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    assert holding[0].parent.name == "certificates"
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            assert secret.encode() not in environ.read_bytes() or int(environ.parent.name) == os.getpid()

    shop.settings({"tls": "off"})
    shop.deploy("push", env=env)
    assert front.get("shop.test", "/", secure=False)[0] == 200
    assert not holding[0].exists()
    assert front.refuses("shop.test")


@pytest.mark.more
def test_maintenance_shows_a_page_while_everything_goes_on(kind: str, lab: Lab, front: Front, tmp_path: Path) -> None:
    settings = {
        **QUICK,
        "app": "closing",
        "port": 8300,
        "domains": ["closing.test"],
        "balancer": {"maintenance": "a.html"},
    }
    app = Project(tmp_path / "closing", lab.name, "shop", settings)
    app.commit("a page", a__html="<h1>{closed} {{for}} the % sale</h1>\n")
    other = Project(
        tmp_path / "open", lab.name, "notes", {**QUICK, "app": "open", "port": 8400, "domains": ["open.test"]}
    )
    for project in (app, other):
        project.deploy("setup")
        project.deploy("push")
    began = threading.Event()
    slow = Slow(front.address, "closing.test", began)
    slow.start()
    assert began.wait(20)
    assert app.deploy("maintenance", "on", "--reason", "a new database").last["outcome"] == "succeeded"
    for method in ("GET", "POST", "HEAD"):
        status, headers, text = front.ask("closing.test", method)
        assert (status, headers["Retry-After"]) == (503, "120"), (method, status)
        assert text == ("" if method == "HEAD" else "<h1>{closed} {{for}} the % sale</h1>\n")
    assert front.ask("open.test", "GET")[0] == 200, "the other app of this balancer is open"
    slow.join(30)
    assert slow.status == 200, "what was under way ended as it should"
    assert app.deploy("maintenance", "on").last["outcome"] == "unchanged"
    lines = app.show("status").splitlines()
    assert any(line.startswith("maintenance since") and "a new database" in line for line in lines), lines

    app.version(2)
    probed = app.deploy("push", "--probe", f"http://{lab.address}/")
    assert probed.last["outcome"] == "succeeded" and probed.last["probe"] is None
    app.deploy("reload")
    other.settings({"domains": ["open.test", "www.open.test"]})
    other.deploy("push")  # reloads the balancer
    assert front.ask("closing.test", "GET")[0] == 503
    lab.power_off("lb1")
    lab.power_on("lb1")
    until("it serves again", lambda: front.serves("open.test"))
    assert front.ask("closing.test", "GET")[0] == 503
    with traffic(lab.address, tmp_path / "log", host_header="open.test", mix="get") as users:
        assert app.deploy("maintenance", "off").last["outcome"] == "succeeded"
        assert front.ask("closing.test", "GET")[0] == 200
        assert app.deploy("maintenance", "off").last["outcome"] == "unchanged"
    users.demand(proven=set(users.receipt.releases if users.receipt else ()), at_least=10, rate=1)


class Slow(threading.Thread):
    """A request that takes seconds; `began` is set when it was sent."""

    def __init__(self, address: str, name: str, began: threading.Event) -> None:
        super().__init__(daemon=True)
        self._address, self._name, self._began = address, name, began
        self.status = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, 8080, timeout=60)
        connection.request("GET", "/slow?s=8", headers={"Host": self._name})
        self._began.set()
        self.status = connection.getresponse().status
