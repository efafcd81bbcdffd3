"""Somebody else's nginx configuration: only what leads to the app's own servers is changed, to the byte."""

from __future__ import annotations

import pytest

from deployer.agent.takeover.frontend import NoMatch, Rewrite, Unsupported
from deployer.agent.takeover.nginx_frontend import leads, moved, parsed

PLACES = {"192.0.2.1:8000": "web1", "192.0.2.2:8000": "web2"}
SOCKET = "unix:/run/deploy-nginx/shop-prod.sock"
BALANCED = """\
upstream shop {
    least_conn;
    server 192.0.2.1:8000 weight=2;  # the big one
    server web2.example:8000 max_fails=3
        fail_timeout=5s;
    keepalive 16;
}
upstream other { server 192.0.2.9:9000; }
server {
    listen 80;
    server_name shop.example;  # } not the end; {
    set $secret "a { b ; \\" c";
    if ($http_user_agent ~ "bad{2}") { return 403; }
    location ~ "^/x{1,3}/" { return 200 'it\\'s'; }
    location / { proxy_pass http://shop; }
    location /other { proxy_pass http://other; }
}
"""
SINGLE = """\
server {
    listen 443 ssl;
    proxy_set_header Host $host;
    location / { proxy_pass http://192.0.2.1:8000; }
    location /api/ {
        include proxy_params;
        proxy_pass "http://192.0.2.1:8000/v1/";
    }
    location /ws { proxy_pass http://${backend}; }
}
"""


def resolved(address: str) -> list[str]:
    return {"web2.example": ["192.0.2.2"]}.get(address, [address] if address[:1].isdigit() else [])


def asked(text: str, places: dict[str, str] = PLACES) -> Rewrite:
    return moved(text, places, SOCKET, resolved)


def refused(text: str) -> str:
    with pytest.raises(Unsupported) as caught:
        asked(text)
    return str(caught.value)


def test_an_upstream_has_one_server_in_place_of_the_apps() -> None:
    found = asked(BALANCED)
    wanted = BALANCED.replace("192.0.2.1:8000 weight=2;", SOCKET + ";")
    wanted = wanted.replace("    server web2.example:8000 max_fails=3\n        fail_timeout=5s;\n", "")
    assert found.text == wanted
    assert found.backends == ("shop",) and found.missing == ()
    assert f"+    server {SOCKET};  # the big one" in found.diff and "secret" not in found.diff


def test_a_proxy_pass_that_names_a_server_keeps_its_path() -> None:
    found = asked(SINGLE, {"192.0.2.1:8000": "web1"})
    wanted = SINGLE.replace("pass http://192.0.2.1:8000;", f"pass http://{SOCKET};")
    assert found.text == wanted.replace('"http://192.0.2.1:8000/v1/"', f'"http://{SOCKET}:/v1/"')
    assert found.backends == ("192.0.2.1:8000",) and found.missing == ()
    assert asked(SINGLE).missing == ("web2",), "a host that nobody sends to is named"


def test_what_is_led_there_already_has_no_diff() -> None:
    for text in (BALANCED, SINGLE):
        assert not leads(text, SOCKET)
        after = asked(text)
        assert leads(after.text, SOCKET)
        assert asked(after.text).diff == "" and asked(after.text).missing == ()


def test_an_upstream_with_somebody_else_in_it_is_left_alone() -> None:
    assert "upstream shop also sends to 192.0.2.7:8000" in refused(
        BALANCED.replace("    keepalive 16;\n", "    server 192.0.2.7:8000 backup;\n")
    )


def test_a_name_of_its_own_for_the_host_is_not_taken_away() -> None:
    assert "proxy_set_header Host" in refused(SINGLE.replace("    proxy_set_header Host $host;\n", ""))
    own = SINGLE.replace("location / {", "location / { proxy_set_header X-Real-IP $remote_addr;")
    assert "proxy_set_header Host" in refused(own), "headers of a block take the place of those outside"


def test_a_file_without_the_app_says_so() -> None:
    with pytest.raises(NoMatch):
        asked("server { listen 80; location / { proxy_pass http://192.0.2.1:8001; } }\n")
    with pytest.raises(NoMatch):
        asked("")


@pytest.mark.parametrize(
    "other",
    ["proxy_pass http://192.0.2.1:8000$request_uri;", "set $up 192.0.2.1:8000;", "uwsgi_pass web2.example:8000;"],
)
def test_what_names_the_app_in_another_way_is_not_left_to_a_server_that_goes(other: str) -> None:
    assert "names the app too" in refused(
        SINGLE.replace("location /ws {", f"location /more {{ {other} }} location /ws {{")
    )
    assert "names the app too" in refused(f"server {{ location / {{ {other} }} }}")


def test_a_stream_is_refused() -> None:
    assert "stream" in refused("stream { upstream a { server 192.0.2.1:8000; } }")


@pytest.mark.parametrize(
    ("text", "why"), [("a;\n}\n", "line 2"), ("a {\n", "middle"), ("a b", "middle"), ("a;\n;", "")]
)
def test_what_is_no_configuration_is_refused(text: str, why: str) -> None:
    assert why in refused(text)


def test_words_are_read_as_nginx_does() -> None:
    (block,) = parsed("location ~ \"a;{\" {\n  set ${x}y 'b }'; # c;\n  return 200;}")
    assert block.words == ["location", "~", '"a;{"'] and [each.words for each in block.inside] == [
        ["set", "${x}y", "'b }'"],
        ["return", "200"],
    ]
