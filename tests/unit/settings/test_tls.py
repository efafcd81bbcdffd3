"""A certificate is judged before anything is changed, with the line that names it; its key is never repeated."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority

from deployer import balancers
from deployer.errors import SettingsError
from deployer.settings.load import Loaded, load
from deployer.settings.tls import Certificate, read_certificate, require_possible

OWN = """\
app: shop
domains: [shop.example.com, www.example.com]
secrets: {KEY: {env: SHOP_TEST_KEY}, DB: {env: DB}}
tls:
  certificate: shop.pem
  key: KEY
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pem: str, key: str, text: str = OWN) -> Certificate | None:
    (tmp_path / "deploy.yaml").write_text(text)
    if pem:
        (tmp_path / "shop.pem").write_text(pem)
    monkeypatch.setenv("SHOP_TEST_KEY", key.removesuffix("\n"))
    return read_certificate(load(tmp_path / "deploy.yaml", "prod"))


def test_a_good_one_comes_with_its_key(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = authority.signs("shop.example.com", "*.example.com", days=91.5)
    found = read(tmp_path, monkeypatch, made.pem + authority.file.read_text(), made.key)
    assert found is not None
    assert found.pem.count("BEGIN CERTIFICATE") == 2 and found.pem.endswith(made.key)
    assert (found.sha256, found.names) == (made.sha256, ("shop.example.com", "*.example.com"))
    assert 90 < found.days_left() < 91 and not found.ends_soon()
    assert made.key.splitlines()[1] not in repr(found) + found.description


def test_what_cannot_serve_is_refused_with_its_line(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("shop.example.com", "www.example.com")
    good, other = authority.signs(*names), authority.signs(*names)
    locked = subprocess.run(
        ["openssl", "pkey", "-aes128", "-passout", "pass:x"], input=good.key, text=True, capture_output=True, check=True
    ).stdout
    cases: list[tuple[str, str, int, str]] = [
        ("", good.key, 5, "cannot be read"),
        ("nothing", good.key, 5, "holds no certificate"),
        (good.pem, other.key, 6, "the secret KEY is not the key of the first certificate"),
        (authority.file.read_text() + good.pem, good.key, 6, "is not the key of the first certificate"),
        (good.pem, "hunter2", 6, "the secret KEY is not a valid private key"),
        (good.pem, locked, 6, "has a passphrase"),
    ]
    late = authority.signs(*names, begins=-100.0, days=99.0)
    early = authority.signs(*names, begins=2.0)
    narrow = authority.signs("shop.example.com", "*.www.example.com")
    cases += [
        (late.pem, late.key, 5, "expired on "),
        (early.pem, early.key, 5, "is valid from "),
        (narrow.pem, narrow.key, 5, "is not for www.example.com"),
    ]
    for pem, key, line, says in cases:
        with pytest.raises(SettingsError) as refused:
            read(tmp_path, monkeypatch, pem, key)
        error = refused.value
        assert (error.line, says in error.message) == (line, True), (error, says)
        assert key.splitlines()[-2:][0] not in f"{error} {error.cause} {error.hint}"


def test_a_warning_comes_two_weeks_before_the_end_and_for_short_lived_ones_later() -> None:
    day = 86400.0
    given = Certificate((), ends=100 * day, lifetime=90 * day, sha256="")
    assert given.ends_soon(now=87 * day) and not given.ends_soon(now=85 * day)
    short = Certificate((), ends=6 * day, lifetime=6 * day, sha256="")
    assert not short.ends_soon(now=4.9 * day, renewed=True)
    assert short.ends_soon(now=5.1 * day, renewed=True)
    assert short.days_left(now=time.time()) < 0


def require(loaded: Loaded, kind: str) -> None:
    """`require_possible` for a built-in balancer, or none."""
    able = balancers.get(kind) if kind != "none" else None
    serves_tls, obtains = (able.serves_tls, able.obtains_certificates) if able else (False, False)
    require_possible(loaded, kind, serves_tls=serves_tls, obtains_certificates=obtains)


@pytest.mark.parametrize(
    ("changes", "kind", "line", "says"),
    [
        ("tls: auto", "haproxy", 3, "only Caddy gets certificates by itself"),
        ("tls: {issuer: internal}", "nginx", 3, "only Caddy gets certificates by itself"),
        ("tls: auto", "none", 3, "tls needs a balancer"),
        ("tls: {certificate: a.pem, key: NOPE}", "nginx", 3, "unknown secret NOPE"),
        ("tls: auto\nbalancer: {manage: false}", "caddy", 3, "balancer.manage is false"),
        ("tls: auto\n---", "caddy", 3, ""),
    ],
)
def test_what_a_balancer_cannot_do_is_said(changes: str, kind: str, line: int, says: str, tmp_path: Path) -> None:
    text = f"app: shop\ndomains: [a.example.com]\n{changes}\n".replace("\n---", "").replace("---", "")
    if not says:
        text, says = text.replace("domains: [a.example.com]", "keep: 3"), "tls needs domains"
    (tmp_path / "deploy.yaml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        require(load(tmp_path / "deploy.yaml", "prod"), kind)
    assert refused.value.line == line and says in refused.value.message


@pytest.mark.parametrize("tls", ["tls: off", "tls: auto", "tls: {email: ops@example.com}", "keep: 4"])
def test_what_a_balancer_can_do_passes(tls: str, tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(f"app: shop\ndomains: [a.example.com]\n{tls}\n")
    loaded = load(tmp_path / "deploy.yaml", "prod")
    require(loaded, "caddy")
    assert read_certificate(loaded) is None


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ("{certificate: a.pem}", "belong together"),
        ("{certificate: a.pem, key: K, issuer: internal}", "or one that Caddy gets"),
        ("{issuer: 'http://ca.example.com/'}", "is not a valid issuer"),
        ("{issuer: 'https://ca/{env.HOME}'}", "is not a valid issuer"),
        ("{email: 'no mail'}", "is not a valid email address"),
        ("perhaps", "tls must be"),
    ],
)
def test_a_mistake_is_named(tls: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(f"app: shop\ntls: {tls}\n")
    with pytest.raises(SettingsError) as refused:
        load(tmp_path / "deploy.yaml", "prod")
    assert refused.value.line == 2 and says in refused.value.message, refused.value


def test_the_app_does_not_get_the_key_of_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text(OWN)
    settings: Any = load(tmp_path / "deploy.yaml", "prod").settings
    assert list(settings.app_secrets) == ["DB"]
