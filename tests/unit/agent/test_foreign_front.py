"""Somebody else's HAProxy configuration: only what leads to the app's own servers is changed, to the byte."""

from __future__ import annotations

import pytest

from deployer.agent.takeover.frontend import Rewrite, Unsupported
from deployer.agent.takeover.haproxy_frontend import leads, moved

PLACES = {"192.0.2.1:8000": "web1", "192.0.2.2:8000": "web2"}
CONFIGURATION = """\
global
    stats socket /run/haproxy/admin.sock
defaults
    mode http
frontend www
    bind :80
    acl api path_beg /api
    use_backend  old if api   # the old one
    default_backend\told
frontend stats
    bind :9000
    stats auth admin:s3cret
    default_backend other
backend old
    balance leastconn
    server a 192.0.2.1:8000 check
    server b web2.example:8000 check
backend other
    server c 192.0.2.9:9000
"""


def resolved(address: str) -> list[str]:
    return {"web2.example": ["192.0.2.2"]}.get(address, [address] if address[:1].isdigit() else [])


def asked(text: str) -> Rewrite:
    return moved(text, PLACES, "shop-prod", resolved)


def refused(text: str) -> str:
    with pytest.raises(Unsupported) as caught:
        asked(text)
    return str(caught.value)


def test_both_ways_of_leading_there_are_changed_and_nothing_else() -> None:
    found = asked(CONFIGURATION)
    wanted = CONFIGURATION.replace("use_backend  old if", "use_backend  shop-prod if")
    assert found.text == wanted.replace("default_backend\told", "default_backend\tshop-prod")
    assert found.backends == ("old",) and found.missing == ()
    assert "-    default_backend\told" in found.diff and "s3cret" not in found.diff, "changed lines alone are shown"


def test_where_it_leads_is_read_from_the_text() -> None:
    assert not leads(CONFIGURATION, "shop-prod") and leads(CONFIGURATION, "other")
    assert leads(asked(CONFIGURATION).text, "shop-prod")
    assert leads("frontend a\n  default_backend shop-prod\n", "shop-prod"), "whoever else is gone"


def test_what_is_led_there_already_has_no_diff() -> None:
    assert asked(asked(CONFIGURATION).text).diff == ""


def test_a_backend_with_somebody_else_in_it_is_left_alone() -> None:
    assert "old also sends to 192.0.2.7:8000" in refused(
        CONFIGURATION.replace("    balance leastconn\n", "    server x 192.0.2.7:8000\n")
    )


def test_a_host_that_no_backend_has_is_named() -> None:
    assert asked(CONFIGURATION.replace("    server b web2.example:8000 check\n", "")).missing == ("web2",)


def test_what_cannot_be_led_says_why() -> None:
    assert "no backend there sends to the app" in refused("frontend a\n  default_backend other\n")
    listen = "listen old\n  bind :80\n  server a 192.0.2.1:8000\n"
    assert "listen old" in refused(listen)
    dynamic = CONFIGURATION.replace("use_backend  old if api", "use_backend %[path,map(a.map)]").replace(
        "default_backend\told", "default_backend other"
    )
    assert "leads to old" in refused(dynamic)


def test_another_port_of_the_same_host_is_another_server() -> None:
    assert "no backend" in refused(CONFIGURATION.replace(":8000", ":8001"))
