"""Which environment a command is about, when none is named; and how a command that only looks ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.events import Event
from deployer.report.lines import line_of
from deployer.rollout.delivery.inventory_remarks import inventory_remarks
from deployer.rollout.run.project import load
from deployer.rollout.run.record import Record


def add_staging(project: Path) -> None:
    (project / "inventories/staging.yaml").write_text("web: {hosts: {web9.example.com: {}}}\n")


def test_a_command_that_looks_takes_the_only_environment(deploy: Any, project: Path) -> None:
    result = deploy("hosts")
    assert result.exit_code == 0 and "web1.example.com" in result.stdout, result.output


def test_one_that_changes_hosts_never_guesses(deploy: Any, project: Path) -> None:
    result = deploy("push")
    assert result.exit_code == 2 and "no environment was given" in result.stderr
    assert "deploy push prod" in result.stderr


@pytest.mark.parametrize("command", ["logs", "status", "history", "releases", "plan", "doctor", "verify", "hosts"])
def test_where_there_are_several_the_same_command_is_proposed(deploy: Any, project: Path, command: str) -> None:
    add_staging(project)
    result = deploy(command)
    assert result.exit_code == 2
    assert f"next:  deploy {command} prod; there are: prod, staging" in result.stderr and "push" not in result.stderr


def test_a_command_that_looks_ends_with_what_it_shows(deploy: Any, project: Path) -> None:
    assert "succeeded" not in deploy("hosts", "prod", "--output", "plain").stdout
    assert "run.finished" in deploy("hosts", "prod", "--output", "json").stdout
    finished: Event = Record("push").finish()
    assert "succeeded" in str(line_of(finished)) and "silent" not in finished.as_json()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("servers: [a]", "hosts are not in this file"),
        ("service: shop", "the app's name is app: NAME"),
        ("linked_dirs: [media]", "shared: [media/]"),
        ("domain: shop.example.com", "did you mean domains?"),
    ],
)
def test_keys_of_other_tools_lead_to_ours(deploy: Any, project: Path, key: str, words: str) -> None:
    (project / "deploy.yaml").write_text(f"app: shop\n{key}\n")
    result = deploy("hosts", "prod")
    assert result.exit_code == 2 and words in result.stderr


def test_what_the_inventory_says_otherwise_is_said(project: Path) -> None:
    (project / "deploy.yaml").write_text('app: shop\nbalancer: {listen: ":8081"}\n')
    own = "deploy_listen: ':80'"
    (project / "inventories/prod.yaml").write_text(
        "web: {hosts: {web1.example.com: {deploy: {shpo: {workers: 2}, mail: {port: 9000}}}}}\n"
        f"balancers: {{hosts: {{lb1.example.com: {{{own}}}}}}}\n"
    )
    remarks = inventory_remarks(load("prod", start=project).topology)
    assert "web1.example.com: the variable deploy: has shpo, and this app is shop" in remarks[0]
    assert "listens at :80, as deploy_listen" in remarks[1] and ":8081" in remarks[1]
    assert len(remarks) == 2
