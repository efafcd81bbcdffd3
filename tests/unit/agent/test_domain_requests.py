"""What users of a name are answered: asked at a real server, in the clear and by TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.certificates import Authority

from deployer.agent.balancer import domains
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.requests import DomainAnswer, RequestDomains
from deployer.agent.operation import Context


@contextmanager
def server(statuses: dict[str, list[int]], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answers each name with its statuses in turn, the last of them for good; 404 for any other name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            left = statuses.get(str(self.headers["Host"]), [404])
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        made.socket = tls.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield int(made.server_address[1])
    made.shutdown()
    made.server_close()


def ask(port: int, *names: str, tls: bool = False, wait: float = 0.0) -> dict[str, DomainAnswer]:
    request: RequestDomains = {
        "site": Site("shop", "prod", "/srv/shop").to_wire(),
        "address": "127.0.0.1",
        "port": port,
        "tls": tls,
        "names": list(names),
        "path": "/",
        "wait": wait,
    }
    return domains.request(Context(), request)["names"]


def test_every_name_is_asked_by_its_own_name() -> None:
    with server({"a.example.com": [200], "b.example.com": [400]}) as port:
        found = ask(port, "a.example.com", "b.example.com", "c.example.com", wait=30.0)
    assert {name: each["status"] for name, each in found.items()} == {
        "a.example.com": 200,
        "b.example.com": 400,
        "c.example.com": 404,
    }


def test_a_server_error_may_pass_and_is_asked_again() -> None:
    with server({"a.example.com": [503, 502, 200]}) as port:
        assert ask(port, "a.example.com", wait=60.0)["a.example.com"]["status"] == 200
    with server({"a.example.com": [500]}) as port:
        assert ask(port, "a.example.com")["a.example.com"]["status"] == 500


def test_with_tls_the_certificate_does_not_matter(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = Authority(tmp_path).signs("other.example.com")
    (tmp_path / "cert.pem").write_text(made.pem + made.key)
    context.load_cert_chain(tmp_path / "cert.pem")
    with server({"a.example.com": [301]}, context) as port:
        assert ask(port, "a.example.com", tls=True)["a.example.com"]["status"] == 301


def test_who_does_not_answer_is_told_with_the_reason() -> None:
    with server({}) as port:
        pass
    assert ask(port, "a.example.com")["a.example.com"] == {
        "status": None,
        "why": "[Errno 111] Connection refused",
        "location": "",
    }
