"""What the settings come to on one host."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.errors import DeployError, InventoryError, SettingsError
from deployer.inventory.effective import for_host
from deployer.inventory.model import Host, SshOptions
from deployer.settings.models import Settings
from deployer.settings.yaml.document import Opaque


def host(user: str | None = "root", deploy: Any = None, prefix: str = "", become: bool | None = None) -> Host:
    variables = {} if deploy is None else {"deploy": deploy}
    return Host("web1", SshOptions("10.0.0.1", user), variables=variables, prefix=prefix, become=become)


def settings(**keys: Any) -> Settings:
    return Settings.model_validate({"app": "shop"} | keys)


def test_defaults() -> None:
    made = for_host(settings(instances=2, env={"A": "b"}), host())
    assert (made.root, made.user, made.address, made.workers) == ("/srv/shop", "shop", "10.0.0.1", "auto")
    assert (made.ports, made.spare_ports, made.env) == ((8000, 8001), (8500, 8501), {"A": "b"})


def test_the_host_overrides() -> None:
    own = {"address": "192.168.0.9", "port": 9000, "instances": 3, "workers": 2, "env": {"A": "x", "N": 3}}
    made = for_host(settings(env={"A": "b", "B": "c"}), host(deploy={"shop": own, "other": {"port": "ignored"}}))
    assert (made.address, made.ports, made.spare_ports) == ("192.168.0.9", (9000, 9001, 9002), (9500, 9501, 9502))
    assert (made.workers, made.env) == (2, {"A": "x", "B": "c", "N": "3"})


@pytest.mark.parametrize(
    ("ssh_user", "become", "keys", "user"),
    [
        ("root", None, {}, "shop"),
        ("deploy", True, {}, "shop"),
        ("deploy", None, {}, "deploy"),
        ("deploy", False, {}, "deploy"),
        (None, None, {}, ""),
        ("root", None, {"user": "www"}, "www"),
    ],
)
def test_the_user(ssh_user: str | None, become: bool | None, keys: dict[str, Any], user: str) -> None:
    assert for_host(settings(**keys), host(ssh_user, become=become)).user == user


def test_a_lab_host_has_its_root_below_its_prefix() -> None:
    assert for_host(settings(), host(prefix="/lab/web1")).root == "/lab/web1/srv/shop"
    assert for_host(settings(root="/opt/shop/"), host(prefix="/lab/web1")).root == "/lab/web1/opt/shop"


def test_a_local_balancer_needs_no_address_of_the_outside() -> None:
    assert for_host(settings(), host(), local_balancer=True).address == "127.0.0.1"
    assert (
        for_host(settings(), host(deploy={"shop": {"address": "10.1.1.1"}}), local_balancer=True).address == "10.1.1.1"
    )


@pytest.mark.parametrize(
    ("deploy", "says", "hint"),
    [
        ({"shop": {"prt": 9000}}, "deploy.shop: unknown key prt", "did you mean port?"),
        ({"shop": {"port": "x"}}, "deploy.shop: port must be a whole number", "port: 8000"),
        ({"shop": {"env": {"A": True}}}, 'env.A: could be several texts: write "true"', ""),
        ({"shop": [1]}, "deploy.shop", ""),
        ({"port": 9000}, "deploy.port belongs below the app", "deploy: {shop: {port"),
        ("x", "must be a map", ""),
        ({"shop": {"port": "{{ p }}"}}, "is a Jinja expression", ""),
        ({"shop": {"env": {"A": Opaque("!vault")}}}, "is encrypted", ""),
    ],
)
def test_a_wrong_override_names_host_and_key(deploy: Any, says: str, hint: str) -> None:
    with pytest.raises(InventoryError) as caught:
        for_host(settings(), host(deploy=deploy))
    assert says in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.host == "web1"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"port": 8000, "spare_port": 8000}, "port 8000 is both"),
        ({"port": 8000, "spare_port": 8002, "instances": 3}, "port 8002 is both"),
        ({"port": 65200}, "past 65535"),
    ],
)
def test_slot_ports_never_overlap(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        for_host(settings(**keys), host())
    assert says in caught.value.message and caught.value.host == "web1"


def test_the_suggested_spare_port_works() -> None:
    with pytest.raises(DeployError) as caught:
        for_host(settings(spare_port=8002, instances=3), host())
    suggested = int(str(caught.value.hint).rsplit(" ", 1)[1])
    assert for_host(settings(spare_port=suggested, instances=3), host()).spare_ports[0] == suggested
