"""TLS as every adapter writes it: where the key goes, and what each balancer's own program says of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.caddy import real_caddy
from support.certificates import Authority

from deployer import balancers
from deployer.agent.balancer.caddy.reload_tool import Places, Refused, merged
from deployer.agent.balancer.haproxy import reload_tool as haproxy_reload
from deployer.agent.balancer.haproxy.reload_tool import maps
from deployer.agent.balancer.nginx import reload_tool as nginx_reload
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, File
from deployer.agent.model.supervision import Health
from deployer.balancers import Https, Pool, Server
from deployer.settings.tls import Certificate

KINDS = ("haproxy", "nginx", "caddy")
GIVEN = Certificate(("shop.example.com",), 1800000000.0, 7776000.0, "ab" * 32, "CERTIFICATE\nKEY\n")


def pool(https: Https | None, app: str = "shop", **changes: Any) -> Pool:
    """A pool of one server."""
    given: dict[str, Any] = {
        "site": Site(app=app, env="prod", root=f"/srv/{app}"),
        "name": f"{app}-prod",
        "servers": (Server("web1-8000", "192.0.2.1", 8000),),
        "health": Health(path="/healthz", status=200),
        "domains": (f"{app}.example.com",),
        "https": https,
    }
    return Pool(**{**given, **changes})


def app(kind: str, wanted: Pool) -> dict[str, Any]:
    """What the host's tool reads of a pool."""
    file = next(one for one in balancers.get(kind).resources(wanted) if getattr(one, "path", "").endswith(".json"))
    assert isinstance(file, File)
    found: dict[str, Any] = json.loads(file.content)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_is_in_one_file_that_nobody_else_may_read(kind: str) -> None:
    found = balancers.get(kind).resources(pool(Https(":443", GIVEN)))
    (file,) = [one for one in found if isinstance(one, File) and "KEY" in one.content]
    assert (file.mode, file.sensitive, file.content) == ("0600", True, GIVEN.pem)
    assert file.told == "certificate of shop.example.com, until 2027-01-15"
    assert file.notify and file.path.endswith("/certificates/shop-prod.pem")
    gone = [one for one in balancers.get(kind).resources(pool(None)) if isinstance(one, Absent)]
    assert gone == [Absent(file.path, file.notify)]


def test_a_name_has_its_own_apps_certificate_only() -> None:
    apps = [app("haproxy", pool(Https(":443", GIVEN), "blog")), app("haproxy", pool(Https(":443", GIVEN)))]
    found = maps("/etc/haproxy/deploy", [*apps, app("haproxy", pool(None, "plain"))])
    assert found["/etc/haproxy/deploy/certificates-deploy-443.list"] == (
        "/etc/haproxy/deploy/certificates/blog-prod.pem blog.example.com\n"
        "/etc/haproxy/deploy/certificates/shop-prod.pem shop.example.com\n"
    )
    assert "plain" in str(found["/etc/haproxy/deploy/hosts-deploy-80.map"])
    assert "plain" not in str(found["/etc/haproxy/deploy/hosts-deploy-443.map"])


def test_nginx_is_told_of_tls_as_its_version_wants_it() -> None:
    apps = [app("nginx", pool(Https("192.0.2.7:443", GIVEN)))]
    (old,) = nginx_reload.secure_listens("/d", apps, (1, 22, 1)).values()
    (new,) = nginx_reload.secure_listens("/d", apps, (1, 26, 3)).values()
    assert (old, new) == ("listen 192.0.2.7:443 ssl http2;\n", "listen 192.0.2.7:443 ssl;\nhttp2 on;\n")
    with pytest.raises(nginx_reload.Refused, match="tls for shop in prod needs nginx"):
        nginx_reload.secure_listens("/d", apps, (1, 18, 0))
    assert "ssl_reject_handshake on;" in str(nginx_reload.not_found("/d", apps, [])["/d/90-deploy-192.0.2.7-443.conf"])


@pytest.mark.parametrize(
    ("https", "issuers"),
    [
        (Https(":443"), None),
        (Https(":443", email="ops@example.com"), [{"module": "acme", "email": "ops@example.com"}]),
        (Https(":443", issuer="internal"), [{"module": "internal"}]),
        (Https(":443", issuer="https://ca.test/dir"), [{"module": "acme", "ca": "https://ca.test/dir"}]),
    ],
)
def test_caddy_gets_certificates_from_whom_the_settings_name(
    https: Https, issuers: list[dict[str, str]] | None, tmp_path: Path
) -> None:
    text = merged([app("caddy", pool(https)), app("caddy", pool(None, "blog"))], Places(""), {":80": 3})
    found = json.loads(text)["apps"]
    assert found["tls"]["certificates"] == {"automate": ["shop.example.com"]}
    (policy,) = found["tls"]["automation"]["policies"]
    assert (policy["subjects"], policy.get("issuers")) == (["shop.example.com"], issuers)
    (tmp_path / "caddy.json").write_text(text)
    command = [str(real_caddy()), "validate", "--config", str(tmp_path / "caddy.json")]
    done = subprocess.run(command, capture_output=True, text=True, env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr


def test_caddy_takes_a_given_certificate_and_tells_a_renewed_one_from_it(tmp_path: Path) -> None:
    made = Authority(tmp_path).signs("shop.example.com")
    (tmp_path / "shop.pem").write_text(made.pem + made.key)
    given = app("caddy", pool(Https(":443", GIVEN)))
    given["secure"]["certificate"] = str(tmp_path / "shop.pem")
    text = merged([given], Places(""), {":80": 3})
    (policy,) = json.loads(text)["apps"]["http"]["servers"]["deploy-443"]["tls_connection_policies"]
    assert policy["match"] == {"sni": ["shop.example.com"]}
    assert policy["certificate_selection"] == {"any_tag": ["shop-prod-" + "ab" * 6]}
    (tmp_path / "caddy.json").write_text(text)
    command = [str(real_caddy()), "validate", "--config", str(tmp_path / "caddy.json")]
    done = subprocess.run(command, capture_output=True, text=True, env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    renewed = Certificate(GIVEN.names, GIVEN.ends, GIVEN.lifetime, "cd" * 32, GIVEN.pem)
    assert merged([app("caddy", pool(Https(":443", renewed)))], Places(""), {}) != text


def test_an_address_speaks_tls_for_all_apps_or_for_none() -> None:
    def both(kind: str) -> list[dict[str, Any]]:
        return [app(kind, pool(Https(":443", GIVEN))), app(kind, pool(None, "blog", listen=":443"))]

    said = "TLS for one app and plain HTTP for another"
    with pytest.raises(Refused, match=said):
        merged(both("caddy"), Places(""), {})
    with pytest.raises(nginx_reload.Refused, match=said):
        nginx_reload.refuse_clashes(both("nginx"))
    with pytest.raises(haproxy_reload.Refused, match=said):
        maps("/etc/haproxy/deploy", both("haproxy"))
