"""What Caddy's adapter writes: goldens that Caddy itself accepts, and values that try to break out of their place."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.caddy import real_caddy

from deployer import balancers
from deployer.agent.balancer.caddy import reload_tool as caddy_reload
from deployer.agent.balancer.caddy.reload_tool import Places, Refused, lay_slots, merged, program, settle
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File, Resource, Service, User, name_of
from deployer.agent.model.supervision import Health
from deployer.balancers import Pool, Server
from deployer.balancers.base import Www
from deployer.errors import SettingsError

GOLDEN = Path(__file__).with_name("golden")
REAL = Site(app="shop", env="prod", root="/srv/shop")


def pool(**changes: Any) -> Pool:
    """A pool of two servers."""
    health = Health(
        path="/healthz?deep=1", status=200, host="shop.example.com", headers={"X-Probe": '{env.HOME} "it\'s"'}
    )
    given: dict[str, Any] = {
        "site": REAL,
        "name": "shop-prod",
        "servers": (Server("web1-8000", "192.0.2.1", 8000), Server("web2-8000", "2001:db8::2", 8000)),
        "health": health,
    }
    return Pool(**{**given, **changes})


def app(**changes: Any) -> dict[str, Any]:
    """The app's file, as the host reads it."""
    file = balancers.get("caddy").resources(pool(**changes))[-1]
    assert isinstance(file, File)
    found: dict[str, Any] = json.loads(file.content)
    return found


def other(**changes: Any) -> dict[str, Any]:
    """A second app's file."""
    return app(site=Site(app="blog", env="prod", root="/srv/blog"), name="blog-prod", **changes)


def check(folder: Path, *apps: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Caddy's own opinion of a configuration."""
    file = folder / "caddy.json"
    file.write_text(merged(list(apps), Places(""), {":80": 3}))
    command = [str(real_caddy()), "validate", "--config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, env={"HOME": str(folder)})


def paths(resources: list[Resource]) -> list[str]:
    return [name_of(each) for each in resources if isinstance(each, Directory | File)]


def test_an_app_is_one_file_and_all_apps_are_one_configuration(tmp_path: Path) -> None:
    shop = app(domains=("Shop.example.com", "www.example.com"))
    assert json.dumps(shop, indent=1) + "\n" == (GOLDEN / "caddy-shop-prod.json").read_text()
    both = [other(listen="192.0.2.7:8081"), shop]
    assert merged(both, Places(""), {":80": 3}) == (GOLDEN / "caddy.json").read_text()
    checked = check(tmp_path, *both)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"health": Health(path="/%7B{env.HOME}/x;#", status=204, headers={"X-A": '"}],"x":"{file./etc/passwd}'})},
        {"health": Health(status=None)},
        {"listen": "[2001:db8::1]:8080"},
        {"servers": (Server("web_1.x-80", "app.internal", 80),)},
        {"keepalive": 0.1},
        {"www": Www("/static/", "/srv/shop/current/.deploy-www")},
    ],
)
def test_caddy_accepts_what_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    checked = check(tmp_path, app(**changes))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"domains": ("shop example.com",)},
        {"domains": ("*.example.com",)},
        {"name": "../shop"},
        {"listen": "example.com:80"},
        {"servers": (Server("web1/../x", "192.0.2.1", 80),)},
        {"servers": (Server("web1", "unix//run/docker.sock", 80),)},
        {"health": Health(path="/a b")},
        {"www": Www("/{env.HOME}/", "/srv/shop")},
        {"health": Health(headers={"X: y": "z"})},
        {"site": Site(app="shop", env="prod", root="/srv", prefix="/tmp/{env.HOME}")},
    ],
)
def test_what_caddy_cannot_be_told_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        balancers.get("caddy").resources(pool(**changes))


def test_a_pool_that_somebody_else_configures_is_refused() -> None:
    with pytest.raises(SettingsError, match="manage"):
        balancers.get("caddy").driver(pool(options={"manage": False}))


def test_two_apps_that_want_the_same_are_refused_with_both_names() -> None:
    with pytest.raises(Refused, match="blog in prod and shop in prod both want every request at :80"):
        merged([other(), app()], Places(""), {})
    named = {"domains": ("www.example.com",)}
    with pytest.raises(Refused, match=r"blog in prod and shop in prod both serve www\.example\.com at :80"):
        merged([other(**named), app(**named)], Places(""), {})
    merged([other(), app(**named)], Places(""), {})


def test_the_rest_of_the_host_is_left_alone() -> None:
    adapter = balancers.get("caddy")
    found = adapter.base(REAL, systemd=True)
    assert [each for each in paths(found) if each.startswith("/etc/caddy") or each.endswith("/caddy.service")] == []
    assert found[0] == User("deploy-caddy", home="/var/lib/deploy-caddy")
    assert found[-1] == Service("deploy-caddy")
    unit = next(each.content for each in found if isinstance(each, File) and each.path.endswith("deploy-caddy.service"))
    tool = '"/usr/bin/env" "python3" "-IS" "/usr/local/lib/deploy/caddy_reload.py"'
    assert f'ExecStartPre=+{tool} "prepare"\nExecStart={tool} "run"\n' in unit
    assert not [each for each in adapter.base(REAL, systemd=False) if isinstance(each, User | Service)]


def test_slots_are_laid_as_the_records_say_and_belong_to_their_address(tmp_path: Path) -> None:
    places, shop = Places(str(tmp_path)), app()
    shop["drained"] = str(tmp_path / "drained.json")
    records = {"web1-8000": {"by": "person"}, "web2-8000": {"by": "spare"}, "web3-8000": {"by": "run"}}
    Path(shop["drained"]).write_text(json.dumps(records))
    shop["slots"]["web3-8000"] = "192.0.2.3:8000"
    lay_slots([shop], places)
    folder = tmp_path / "var/lib/deploy/caddy-slots/shop-prod"
    kept = {each.name: each.read_text().strip() for each in folder.glob("[!.]*")}
    nowhere = caddy_reload.NOWHERE
    assert kept == {"web1-8000": f"{nowhere}drain", "web2-8000": f"{nowhere}maint", "web3-8000": "192.0.2.3:8000"}
    shop["slots"]["web4-8000"] = "192.0.2.4:8000"
    lay_slots([shop], places)
    assert (folder / "web4-8000").read_text() == f"{nowhere}maint\n", "a pool that grows sends nothing there yet"
    settle([shop], places)
    assert (folder / "web4-8000").read_text() == f"{nowhere}maint\n"
    shop["slots"]["web3-8000.2"] = "192.0.2.33:8000"
    lay_slots([shop], places)
    assert (folder / "web3-8000.2").read_text() == f"{nowhere}maint\n", "nobody knows what answers at another address"
    (folder / "web3-8000.2").write_text("192.0.2.33:8000\n")
    (folder / "web3-8000").write_text(f"{nowhere}maint\n")
    shop["slots"]["web3-8000"] = shop["slots"].pop("web3-8000.2")
    lay_slots([shop], places)
    assert (folder / "web3-8000").read_text() == "192.0.2.33:8000\n", "what serves there goes on by its other name"
    assert (folder / "web1-8000").read_text() == f"{nowhere}drain\n"


def test_only_a_boot_of_the_host_undoes_what_a_run_drained(tmp_path: Path) -> None:
    places, shop = Places(str(tmp_path)), app()
    shop["drained"] = str(tmp_path / "drained.json")
    lay_slots([shop], places)
    settle([shop], places)
    one, two = (tmp_path / "var/lib/deploy/caddy-slots/shop-prod" / name for name in shop["slots"])
    for each in (one, two):
        each.write_text(f"{caddy_reload.NOWHERE}drain\n")
    Path(shop["drained"]).write_text(json.dumps({one.name: {"by": "run"}, two.name: {"by": "quarantine"}}))
    settle([shop], places)
    assert one.read_text() == two.read_text() == f"{caddy_reload.NOWHERE}drain\n", "this is no boot"
    Path(places.booted).write_text("another boot\n")
    settle([shop], places)
    assert one.read_text() == "192.0.2.1:8000\n"
    assert two.read_text() == f"{caddy_reload.NOWHERE}drain\n"


def test_an_older_caddy_is_refused_with_its_version(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    with pytest.raises(Refused, match=r"this host has no Caddy 2\.11\.4 or later; setup brings one"):
        program(places)
    old = tmp_path / "var/lib/deploy/caddy/2.6.2-0123456789ab/caddy"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 2.6.2\n")
    old.chmod(0o755)
    with pytest.raises(Refused, match=r"caddy is 2\.6\.2; setup brings one"):
        program(places)


def test_every_ipv6_address_is_where_caddy_listens_anyway() -> None:
    """Caddy listens with both families at `:80`; a second socket for `[::]:80` could not be bound beside it."""
    both = [app(listen=listen) for listen in (":80", "[::]:80")]
    assert both[0] == both[1] and both[0]["listen"] == ":80"
