"""The first commands a user types, none of which needs a host: init, hosts, render, schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.typed import EXAMPLES, example, lines

APPS = sorted(path.name for path in EXAMPLES.iterdir() if (path / "deploy.yaml").is_file())


@pytest.mark.parametrize("name", APPS)
def test_init_then_render_for_an_app_that_we_have_never_seen(deploy: Any, folder: Path, name: str) -> None:
    example(name, folder)
    made = deploy("init")
    assert made.exit_code == 0, made.output
    assert {"deploy.yaml", "inventories"} <= {path.name for path in folder.iterdir()}
    settings = [line for line in (folder / "deploy.yaml").read_text().splitlines() if line.strip()]
    assert len(settings) <= 8, "init wrote more than it must"
    drawn = deploy("render", "prod", "--out", "rendered")
    assert drawn.exit_code == 0, drawn.output
    host = folder / "rendered" / "web1.example.com"
    run = next(host.glob("srv/*/releases/RELEASE/run"))
    assert "DEPLOY_RELEASE" in run.read_text() and "@release@" not in run.read_text()
    assert [path.name for path in (host / "etc/systemd/system").iterdir()], "no unit was drawn"
    assert all("kind" in each for each in json.loads((host / "resources.json").read_text()))


def test_init_does_not_touch_what_is_there(deploy: Any, project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    result = deploy("init")
    assert result.exit_code == 2 and "not overwritten" in result.stderr
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


def test_init_in_a_folder_without_an_app(deploy: Any, folder: Path) -> None:
    result = deploy("init")
    assert result.exit_code == 2 and "Traceback" not in result.output and list(folder.iterdir()) == []


def test_hosts_lists_every_host_with_its_part(deploy: Any, project: Path) -> None:
    result = deploy("hosts", "prod", "--output", "json")
    told = lines(result)
    assert [each["event"] for each in told] == ["run.finished"], "text for people"
    parts = [(each["host"], each["part"]) for each in told[-1]["data"]["hosts"]]
    assert parts == [("lb1.example.com", "balancer"), ("web1.example.com", "web"), ("web2.example.com", "web")]
    assert {name: host["outcome"] for name, host in told[-1]["hosts"].items()} == {
        "lb1.example.com": "balancer",
        "web1.example.com": "web",
        "web2.example.com": "web",
    }


def test_a_limit_leaves_out_web_hosts_and_never_the_balancer(deploy: Any, project: Path) -> None:
    told = lines(deploy("hosts", "prod", "-l", "web2*", "-u", "somebody", "--output", "json"))
    assert set(told[-1]["hosts"]) == {"lb1.example.com", "web2.example.com"}
    entry = told[-1]["data"]["hosts"][1]
    assert (entry["ssh_user"], entry["ssh_host"], entry["ssh_port"]) == ("somebody", "web2.example.com", 22)


def test_another_inventory_and_settings_from_anywhere(
    deploy: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.ini").write_text("[web]\nalone.example.com ansible_user=root\n")
    monkeypatch.chdir(tmp_path)
    result = deploy("hosts", "prod", "-c", str(project / "deploy.yaml"), "-i", "one.ini", "--output", "json")
    assert result.exit_code == 0, result.output
    assert list(lines(result)[-1]["hosts"]) == ["alone.example.com"]


def test_deploy_yaml_is_found_from_a_folder_below(deploy: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert deploy("hosts", "prod").exit_code == 0


def test_render_draws_every_host_and_is_the_same_twice(deploy: Any, project: Path) -> None:
    def drawn(out: str) -> dict[str, str]:
        result = deploy("render", "prod", "--out", out)
        assert result.exit_code == 0, result.output
        return {str(path.relative_to(out)): path.read_text() for path in Path(out).rglob("*") if path.is_file()}

    first = drawn("one")
    assert {name.partition("/")[0] for name in first} == {"lb1.example.com", "web1.example.com", "web2.example.com"}
    assert "server web2.example.com-8000" in first["lb1.example.com/etc/haproxy/deploy/50-shop-prod.cfg"]
    assert first == drawn("two")


def test_render_says_what_only_a_balancers_host_makes(deploy: Any, project: Path) -> None:
    said = "files that balancers make on their hosts are left out"
    assert said in deploy("render", "prod", "--out", "one").output
    (project / "inventories" / "prod.yaml").write_text("web: {hosts: {web1.example.com: {}}}\n")
    assert said not in deploy("render", "prod", "--out", "two").output


@pytest.mark.parametrize("form", ["plain", "json"])
def test_render_says_what_of_the_apps_own_gunicorn_file_does_not_count(deploy: Any, project: Path, form: str) -> None:
    (project / "main.py").write_text("from flask import Flask\napp = Flask('shop')\n")
    (project / "requirements.txt").write_text("flask\ngunicorn\n")
    (project / "gunicorn.conf.py").write_text("threads = 4\nbind = '0.0.0.0:9000'\nreuse_port = True\n")
    output = deploy("render", "prod", "--out", "one", "--output", form).output
    assert "gunicorn.conf.py:2: bind is left aside: " in output
    assert "gunicorn.conf.py:3: reuse_port is left aside: " in output and "threads" not in output


def test_render_writes_into_no_folder_that_has_something_in_it(deploy: Any, project: Path) -> None:
    result = deploy("render", "prod", "--out", "inventories")
    assert result.exit_code == 2 and "not an empty folder" in result.stderr
    assert [path.name for path in (project / "inventories").iterdir()] == ["prod.yaml"]


def test_the_schema_is_json_and_knows_every_key(deploy: Any) -> None:
    from deployer.settings.models import Settings

    shown = json.loads(deploy("schema").stdout)
    assert shown["properties"].keys() == Settings.model_fields.keys()
    assert shown["additionalProperties"] is False


def test_a_lab_that_is_not_up(deploy: Any) -> None:
    result = deploy("lab", "status", "--name", "nowhere", "--output", "json")
    assert "Traceback" not in result.output
    assert lines(result)[-1]


def test_a_lab_of_a_debian_that_there_is_not(deploy: Any) -> None:
    result = deploy("lab", "up", "--kind", "machines", "--suite", "sid", "--output", "plain")
    assert result.exit_code == 2 and "bullseye, bookworm, trixie" in result.stderr, result.output
