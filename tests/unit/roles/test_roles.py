"""Roles: found, read, and turned into all that one host must have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer import roles, supervisors
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import BootUnit, Directory, File, Package, Service, User, name_of
from deployer.errors import SettingsError
from deployer.inventory.model import Host, SshOptions
from deployer.roles import Adapters, setup_resources
from deployer.settings.models import Settings
from deployer.supervisors import UnitSpec

SITE = Site(app="shop", env="prod", root="/srv/shop", user="shop")


def host(*groups: str, **variables: Any) -> Host:
    return Host("web1", SshOptions("web1"), groups=frozenset({"all", *groups}), variables=variables)


def web(supervisor: str = "systemd", site: Site = SITE) -> Adapters:
    return Adapters(supervisor=supervisors.get(supervisor), unit=UnitSpec(site, (8000, 8100), 30.0))


def set_up(
    settings: Settings, site: Site = SITE, project: Path | None = None, on: Host | None = None, **more: Any
) -> Any:
    return setup_resources(
        "web", settings, site, {"cores": 4}, on or host("web"), web(site=site, **more), project=project
    )


def user_role(project: Path, name: str, text: str, **templates: str) -> None:
    folder = project / "roles" / name
    (folder / "templates").mkdir(parents=True)
    (folder / "role.yaml").write_text(text)
    for file, content in templates.items():
        (folder / "templates" / f"{file}.j2").write_text(content)


def test_a_web_host_gets_packages_user_folders_and_its_unit() -> None:
    resources, handlers = set_up(
        Settings(app="shop", packages=("libpq5", "libmagic1"), shared=("media/", "db.sqlite3"))
    )
    names = [item.name for item in resources if isinstance(item, Package)]
    assert names == ["ca-certificates", "python3", "python3-venv", "libpq5", "libmagic1"]
    assert User("shop", "/srv/shop/shared") in resources
    folders = {item.path: (item.owner, item.mode) for item in resources if isinstance(item, Directory)}
    assert folders == {
        "/srv/shop": ("", "0755"),
        "/srv/shop/releases": ("", "0755"),
        "/srv/shop/venvs": ("", "0755"),
        "/srv/shop/slots": ("", "0755"),
        "/srv/shop/shared": ("shop", "0755"),
        "/srv/shop/shared/media/": ("shop", "0755"),
        "/srv/shop/.deploy": ("", "0711"),
    }
    units = ["/etc/systemd/system/shop@.service", "/etc/systemd/system/shop@.socket"]
    assert [name_of(item) for item in resources if isinstance(item, File) and "/systemd/" in item.path] == units
    assert {name_of(item) for item in resources if isinstance(item, BootUnit)} >= {"shop@8000.service"}
    assert handlers == {"systemd-reload": (("systemctl", "daemon-reload"),)}


def test_supervisord_brings_its_package_service_and_program_file() -> None:
    resources, handlers = set_up(Settings(app="shop", supervisor="supervisord"), supervisor="supervisord")
    assert Package("supervisor") in resources and Service("supervisor") in resources
    assert "/etc/supervisor/conf.d/shop.conf" in [name_of(item) for item in resources]
    assert not any("systemd" in name_of(item) for item in resources) and list(handlers) == ["supervisord-add"]


def test_below_a_prefix_nothing_of_the_machine_itself_is_asked_for() -> None:
    site = Site(app="shop", env="lab", root="/tmp/lab/srv/shop", prefix="/tmp/lab")
    resources, _ = set_up(Settings(app="shop"), site=site, supervisor="supervisord")
    assert resources and not any(isinstance(item, Package | User | Service) for item in resources)
    assert all(name_of(item).startswith("/tmp/lab/") for item in resources)


def test_a_balancer_host_gets_no_app() -> None:
    found = [role.name for role in roles.roles_for("balancers", ["all"], supervisor="systemd", balancer="haproxy")]
    assert found == ["common", "haproxy", "https"]


def test_a_host_with_the_app_and_its_balancer_gets_the_roles_of_a_part_in_that_part_only() -> None:
    groups = ["all", "web", "balancers"]
    found = {
        part: [role.name for role in roles.roles_for(part, groups, supervisor="systemd", balancer="haproxy")]
        for part in ("web", "balancers")
    }
    assert found == {"web": ["common", "app", "systemd"], "balancers": ["common", "haproxy", "https"]}


def test_a_users_role_for_a_group_is_rendered_with_the_hosts_variables(tmp_path: Path) -> None:
    text = """
description: Mail goes out through a relay.
for: ["mail*"]
defaults: {relay: localhost, port: 25}
packages: msmtp
files:
  - {path: "/etc/msmtprc-{{ app }}", template: msmtprc.j2, mode: "0640", owner: "{{ user }}", notify: try-it}
handlers:
  try-it: [[msmtp, "--host={{ relay }}", --serverinfo]]
"""
    user_role(tmp_path, "mail", text, msmtprc="host {{ relay }}:{{ port }} of {{ facts.cores }} cores\n")
    resources, handlers = set_up(
        Settings(app="shop"), project=tmp_path, on=host("web", "mailers", relay="mx.example.com")
    )
    assert Package("msmtp") in resources
    (file,) = [item for item in resources if isinstance(item, File) and "msmtp" in item.path]
    assert file == File(
        "/etc/msmtprc-shop", "host mx.example.com:25 of 4 cores\n", owner="shop", mode="0640", notify=("try-it",)
    )
    assert handlers["try-it"] == (("msmtp", "--host=mx.example.com", "--serverinfo"),)
    others, _ = set_up(Settings(app="shop"), project=tmp_path)
    assert Package("msmtp") not in others


def test_a_users_role_of_the_same_name_takes_the_place_of_ours(tmp_path: Path) -> None:
    user_role(tmp_path, "common", "description: Nothing at all.\nfor: all\n")
    resources, _ = set_up(Settings(app="shop"), project=tmp_path)
    assert Package("ca-certificates") not in resources and Package("python3-venv") in resources


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("description: x\npackagse: [a]\n", "packagse"),
        ("packages: [a]\n", "description"),
        ("description: [\n", "not valid YAML"),
        ("description: x\ndirectories: [{path: /x, mode: '999'}]\n", "mode"),
        ("description: x\nfiles: [{path: /x, template: absent.j2}]\n", "absent.j2"),
        ("description: x\npackages: '{{ nothing }}'\n", "nothing"),
    ],
)
def test_a_role_that_is_wrong_is_named_with_its_mistake(tmp_path: Path, text: str, said: str) -> None:
    user_role(tmp_path, "mine", text)
    with pytest.raises(SettingsError, match=said):
        set_up(Settings(app="shop"), project=tmp_path)


def test_a_role_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown role absent") as caught:
        roles.load("absent", [tmp_path])
    assert str(tmp_path) in (caught.value.cause or "")


def test_every_role_that_comes_with_the_tool_can_be_read() -> None:
    found = [role.name for role in roles.load_all()]
    assert found[:5] == ["common", "app", "systemd", "supervisord", "haproxy"]
    assert all(role.text.description for role in roles.load_all())
