"""deploy.yaml as people write it: what it gives, and what they are told when it is wrong."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from deployer.errors import DeployError, SettingsError, UsageError
from deployer.settings.load import Loaded, load
from deployer.settings.models import SecretRef


def written(folder: Path, text: str, name: str = "deploy.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str, env: str = "prod") -> Loaded:
    return load(written(folder, text), env, environ={})


def refused(folder: Path, text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        loaded(folder, text)
    return caught.value


def test_the_smallest_file_has_every_default(tmp_path: Path) -> None:
    made = loaded(tmp_path, "app: shop\n")
    assert made.settings.app == "shop"
    assert made.settings.rolling.waves == (1, "25%")
    assert made.settings.health.within == 30.0
    assert made.base == tmp_path
    assert made.sources == (tmp_path / "deploy.yaml",)


def test_the_contracts_own_example_loads(tmp_path: Path) -> None:
    text = """
app: shop
default_env: staging
domains: [shop.example.com]
tls: off
source: {path: ., subdir: services/shop, exclude: ["tests/"]}
python: {version: "3.11", with: [uvicorn], env: {A: b}, build: host}
packages: [libpq5]
runtime: {server: gunicorn, app: "shop.main:app", worker_class: gthread, workers: auto, timeout: 2m, max_requests: 0}
unit: {MemoryMax: 1G, LimitNOFILE: 4096, PrivateTmp: true}
processes:
  worker: {command: "celery -A shop worker", count: 2, hosts: workers, stop_timeout: 10m}
  beat: {command: "celery -A shop beat", singleton: true}
schedules:
  nightly: {command: "python -m shop.nightly", cron: "0 3 * * *", timezone: Europe/Berlin}
shared: [media/]
static: {url: /static/, dir: static/}
env: {LOG_LEVEL: info}
secrets: {DATABASE_URL: {env: DATABASE_URL}, KEY: {command: "op read x"}, T: {sops: secrets.yaml}}
health: {path: /healthz, status: 200, every: 500ms, within: 30s, headers: {X-Probe: deploy}}
balancer: {kind: haproxy, hosts: balancers, manage: no, listen: ":80"}
rolling: {strategy: auto, waves: [1, 25%], max_unavailable: 25%, soak: 5, on_failure: rollback}
hooks: {prepare: python manage.py collectstatic --no-input, release: {command: migrate, timeout: 5m, rerun: safe}}
checks: [checks/]
"""
    made = loaded(tmp_path, text).settings
    assert made.tls == "off"
    assert made.balancer.manage is False
    assert made.health.every == 0.5
    assert made.rolling.soak == 5.0
    assert made.processes["worker"].stop_timeout == 600.0
    assert made.hooks.release is not None and made.hooks.release.timeout == 300.0
    assert made.unit == {"MemoryMax": "1G", "LimitNOFILE": 4096, "PrivateTmp": True}
    assert made.secrets["KEY"] == SecretRef(command="op read x")  # type: ignore[call-overload]


def test_it_is_found_from_a_folder_below(tmp_path: Path) -> None:
    written(tmp_path, "app: shop\n")
    below = tmp_path / "src" / "shop"
    below.mkdir(parents=True)
    assert load(None, "prod", start=below, environ={}).path == tmp_path / "deploy.yaml"


def test_without_a_file_deploy_init_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, "prod", start=tmp_path, environ={})
    assert "deploy init" in str(caught.value.hint)


def test_an_overlay_merges_maps_replaces_lists_and_removes_by_null(tmp_path: Path) -> None:
    written(
        tmp_path,
        "domains: [staging.example.com]\nenv: {LOG_LEVEL: debug, OLD: null}\nhealth: null\nruntime: {workers: 2}\n",
        "deploy.staging.yaml",
    )
    base = (
        "app: shop\ndomains: [a.example.com, b.example.com]\nenv: {LOG_LEVEL: info, OLD: x, KEPT: y}\n"
        "health: {path: /healthz}\nruntime: {app: 'm:app'}\n"
    )
    made = loaded(tmp_path, base, "staging")
    assert made.settings.domains == ("staging.example.com",)
    assert made.settings.env == {"LOG_LEVEL": "debug", "KEPT": "y"}
    assert made.settings.health.path is None
    assert (made.settings.runtime.app, made.settings.runtime.workers) == ("m:app", 2)
    assert made.sources == (tmp_path / "deploy.yaml", tmp_path / "deploy.staging.yaml")
    assert made.mark("runtime", "workers").file.endswith("deploy.staging.yaml")
    assert made.mark("runtime", "app").file.endswith("deploy.yaml")


def test_a_mistake_in_the_overlay_names_the_overlay(tmp_path: Path) -> None:
    written(tmp_path, "\nruntime:\n  wrkers: 2\n", "deploy.prod.yaml")
    error = refused(tmp_path, "app: shop\n")
    assert (Path(str(error.file)).name, error.line) == ("deploy.prod.yaml", 3)


@pytest.mark.parametrize(
    ("text", "line", "says", "hint"),
    [
        ("app: shop\nhelth: {path: /x}\n", 2, "unknown key helth", "did you mean health?"),
        ("app: shop\nruntime:\n  workrs: 3\n", 3, "unknown key runtime.workrs", "did you mean workers?"),
        ("app: shop\npython: {wiht: [x]}\n", 2, "unknown key python.wiht", "did you mean with?"),
        (
            "app: shop\nprocesses: {w: {command: x, cuont: 2}}\n",
            2,
            "unknown key processes.w.cuont",
            "did you mean count?",
        ),
        (
            "app: shop\nhooks: {release: {command: x, timeuot: 2}}\n",
            2,
            "hooks.release.timeuot",
            "did you mean timeout?",
        ),
        ("app: shop\nsecrets: {A: {evn: X}}\n", 2, "unknown key secrets.A.evn", "did you mean env?"),
        ("app: shop\ntls: {certificat: x, key: y}\n", 2, "tls.certificat", "certificate"),
        ("app: shop\nprot: 1\n", 2, "unknown key prot", "did you mean port?"),
        ("app: shop\nzzz: 1\n", 2, "unknown key zzz", "known keys here: app"),
        ("domains: [a.example.com]\n", 1, "app is missing", "app: shop"),
        ("", 1, "app is missing", "app: shop"),
        ("# nothing yet\n", 1, "app is missing", "app: shop"),
        ("- app\n", 1, "not a map", "app: NAME"),
        ("shop\n", 1, "not a map", "app: NAME"),
        ("app: shop\napp: other\n", 2, "'app' is repeated", "line 1"),
        ("app: shop\nenv:\n\tA: b\n", 3, "tab", "spaces"),
        ("app: shop\nport: http\n", 2, "port must be a whole number", "port: 8000"),
        ("app: shop\nport: 70000\n", 2, "at most 65535", "port: 8000"),
        ("app: shop\nkeep: true\n", 2, "keep must be a whole number", "keep: 5"),
        ("app: shop\nport: 0644\n", 2, "octal", "0644"),
        ("app: shop\ndomains: shop.example.com\n", 2, "domains must be a list", "domains: [shop.example.com]"),
        ("app: shop\nhealth: /healthz\n", 2, "health must be a map", "health: {path: /healthz}"),
        ("app: shop\npython: {version: 3.10}\n", 2, 'version: "3.10"', ""),
        ("app: shop\npython: {version: 3}\n", 2, 'version: "3"', ""),
        ("app: shop\nruntime: {server: unicorn}\n", 2, "must be one of auto, uvicorn", "server"),
        ("app: shop\nruntime: {workers: many}\n", 2, "runtime.workers must be a number, or auto", "workers: 4"),
        ("app: shop\nruntime: {workers: 0}\n", 2, "runtime.workers must be", "workers: 4"),
        ("app: shop\nrolling: {soak: soon}\n", 2, "'soon' is not a valid duration", ""),
        ("app: shop\nrolling: {waves: [1, 300%]}\n", 2, "'300%' is not a valid size", ""),
        ("app: shop\nenv:\n  A: b\n  DEBUG: true\n", 4, 'env.DEBUG: could be several texts: write "true"', ""),
        ("app: shop\nenv:\n  EMPTY:\n", 3, 'write "" for an empty one', ""),
        ("app: shop\nenv:\n  1A: b\n", 3, "name of an environment variable", ""),
        ("app: Shop\n", 1, "lower-case", ""),
        ('app: "shop\\n"\n', 1, "lower-case", ""),
        ('app: shop\nroot: "/srv/a b"\n', 2, "absolute path", ""),
        ("app: shop\nroot: /srv/../etc\n", 2, "absolute path", ""),
        ("app: shop\nshared: [../up]\n", 2, "does not leave its folder", ""),
        ('app: shop\ndomains: ["a.example.com; evil"]\n', 2, "is not a valid domain", ""),
        ('app: shop\nhealth: {headers: {X: "a\\r\\nb"}}\n', 2, "control characters", ""),
        ('app: shop\nunit: {MemoryMax: "1G\\nExecStart=/evil"}\n', 2, "unit.MemoryMax", ""),
        ("app: shop\nenv: {A: b}\nsecrets: {A: {env: A}}\n", 2, "A is in env and in secrets", ""),
        (
            "app: shop\nprocesses: {beat: {command: x}}\nschedules:\n  beat: {command: x, cron: '@daily'}\n",
            4,
            "beat names a process and a schedule",
            "",
        ),
        ("app: shop\nbalancer: {kind: command, drain: x}\n", 2, "missing: admit, state", ""),
        ("app: shop\nruntime: {server: command}\n", 2, "needs the command", ""),
        ("app: shop\nenv: {A: !vault x}\n", 2, "tag !vault", ""),
        ("app: shop\nenv: &e {A: *e}\n", 2, "contains itself", ""),
        ("app: shop\ndomains: [a.example.com, A.example.com]\n", 2, "a.example.com is repeated", ""),
        ("app: a: b\n", 1, "not valid YAML", "quoted"),
        ("app: shop\n---\napp: x\n", 2, "not valid YAML", "one document"),
        ("app: shop\nenv: {A: [\n", 3, "not valid YAML", ""),
    ],
)
def test_a_mistake_names_file_line_and_what_to_write(
    tmp_path: Path, text: str, line: int, says: str, hint: str
) -> None:
    error = refused(tmp_path, text)
    assert Path(str(error.file)).name == "deploy.yaml"
    assert error.line == line
    assert says in error.message + (error.cause or "")
    assert hint in (error.hint or "")
    assert error.exit_status == 2


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    error = refused(tmp_path, "app: shop\nhelth: 1\nport: http\nkeep: 0\n")
    assert error.line == 2
    assert [line.split(":")[1] for line in (one[one.rindex("deploy.yaml") :] for one in error.log)] == ["3", "4"]


def test_a_secret_written_by_mistake_is_not_repeated(tmp_path: Path) -> None:
    for text in (
        "secrets: {A: hunter2}",
        "secrets: {A: {env: 'postgres://u:hunter2@db'}}",
        "secrets: [A, 'hunter2 !']",
    ):
        error = refused(tmp_path, f"app: shop\n{text}\n")
        assert "hunter2" not in f"{error} {error.hint} {error.log}"


def test_numbers_in_env_keep_the_way_they_were_written(tmp_path: Path) -> None:
    assert loaded(tmp_path, "app: shop\nenv: {V: 3.10, N: 4, E: on, D: 2020-01-01}\n").settings.env == {
        "V": "3.10",
        "N": "4",
        "E": "on",
        "D": "2020-01-01",
    }


def test_a_key_left_empty_means_its_default(tmp_path: Path) -> None:
    assert loaded(tmp_path, "app: shop\nhooks:\nruntime:\n  workers:\n").settings.runtime.workers == "auto"


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = "app: shop\npython:\n  env: &e {A: x}\nenv:\n  <<: *e\n  B: y\n"
    assert loaded(tmp_path, text).settings.env == {"A": "x", "B": "y"}


def test_the_environment_comes_from_the_command_then_the_variable_then_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "app: shop\ndefault_env: staging\n")
    assert load(path, "prod", environ={"DEPLOY_ENV": "qa"}).env == "prod"
    assert load(path, None, environ={"DEPLOY_ENV": "qa"}).env == "qa"
    assert load(path, None, environ={}).env == "staging"


@pytest.mark.parametrize("env", [None, "../x", "a/b", "-x"])
def test_no_environment_or_a_strange_one_is_bad_usage(tmp_path: Path, env: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, "app: shop\n"), env, environ={})
    assert "environment" in caught.value.message


def test_a_file_that_is_not_text_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "deploy.yaml"
    path.write_bytes(b"app: shop\nenv: {A: \xff\xfe}\n")
    with pytest.raises(SettingsError) as caught:
        load(path, "prod", environ={})
    assert caught.value.line == 2 and caught.value.message.endswith("deploy.yaml is not UTF-8 text")


def test_deep_nesting_and_alias_bombs_are_errors(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{here}: &{here} [{', '.join([f'*{below}'] * 10)}]\n" for below, here in zip("abcdefg", "bcdefgh", strict=True)
    )
    for text in ("app: " + "[" * 1000, bomb):
        assert refused(tmp_path, text).exit_status == 2


def test_no_bad_yaml_ever_gives_a_traceback(tmp_path: Path) -> None:
    """Random edits of a good file: each either loads, or is an error of ours that names the file."""
    dice = random.Random(20)
    good = "app: shop\nenv:\n  A: 'x'\n  B: \"y\"\nhooks: {release: migrate}\nrolling:\n  waves: [1, 25%]\n# end\n"
    noise = ["\t", ":", "- ", "{", "}", "[", "]", "*a", "&a ", "!x ", "!!int ", "|", ">", "'", '"', "%", "@", "?", "\n"]
    noise += ["  ", "<<: ", "---\n", "...\n", "%YAML 1.1\n", "\x00", "\x85", "é", "~", "0o17", "1e9", ".inf", "#", "`"]
    outcomes = {True: 0, False: 0}
    for _ in range(600):
        text = good
        for _ in range(dice.randint(1, 4)):
            at, cut = dice.randrange(len(text) + 1), dice.randint(0, 3)
            text = text[:at] + dice.choice(noise) + text[at + cut :]
        try:
            loaded(tmp_path, text)
            outcomes[True] += 1
        except DeployError as error:
            assert error.exit_status == 2 and error.file, text
            outcomes[False] += 1
    assert min(outcomes.values()) > 20


def test_the_path_is_shown_relative_to_where_the_user_is(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        assert refused(tmp_path, "app: shop\nx: 1\n").file == "deploy.yaml"
    finally:
        os.chdir(here)
