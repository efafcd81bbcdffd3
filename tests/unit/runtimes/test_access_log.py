"""What each server writes of its requests: real servers, real requests, and lines that cannot be broken out of."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deployer import runtimes
from deployer.runtimes.standalone import standalone

from .serving import ASGI, WSGI, make_release, serving
from .test_run_script import answer, free_port, install, script, started

SERVERS: dict[str, dict[str, Any]] = {
    "uvicorn": {},
    "uvicorn of two": {"workers": 2},
    "gunicorn": {"interface": "wsgi"},
    "gunicorn+uvicorn": {},
    "gunicorn-asgi": {},
}
NASTY = "/a%22%5C%0A/b?q=%22}\\"


def lines_of(folder: Path, capfd: pytest.CaptureFixture[str], server: str, **more: Any) -> list[str]:
    """All that a server writes to its standard output while it answers one nasty request among others."""
    how = {**SERVERS[server], **more}
    name = server.partition(" ")[0]
    release = make_release(folder / "release", WSGI if how.get("interface") == "wsgi" else ASGI)
    made = serving(**how)
    port = free_port()
    for path, text in runtimes.get(name).files(made).items():
        (release / path).write_text(text)
    install(release, script(made, name, port))
    with started(release, port) as process:
        answer(port, process)
        capfd.readouterr()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{NASTY}", headers={"User-Agent": 'say "hi"\\'})
        with contextlib.closing(urllib.request.urlopen(request, timeout=30)) as reply:
            assert reply.status == 200
    return capfd.readouterr().out.splitlines()


@pytest.mark.parametrize("server", SERVERS)
def test_json_is_one_object_a_request(tmp_path: Path, capfd: pytest.CaptureFixture[str], server: str) -> None:
    found = [json.loads(line) for line in lines_of(tmp_path, capfd, server, access_log="json") if line.startswith("{")]
    (told,) = [each for each in found if each["query"]]  # a line of the request before may come late
    assert (told["method"], told["status"], told["client"]) == ("GET", 200, "127.0.0.1")
    assert told["path"] in ('/a"\\\n/b', "/a%22%5C%0A/b") and told["query"].endswith("}\\")
    assert told["port"] > 0 and told["release"] and told["time"].endswith("Z")
    if server in ("gunicorn", "gunicorn-asgi"):
        assert told["agent"] == 'say "hi"\\' and told["ms"] >= 0 and told["bytes"] > 0


@pytest.mark.parametrize("server", SERVERS)
def test_plain_is_as_the_server_writes_it_and_off_is_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], server: str
) -> None:
    plain = [each for each in lines_of(tmp_path / "1", capfd, server, access_log="plain") if "/b?q=" in each]
    assert len(plain) == 1 and not plain[0].startswith("{")
    assert not [each for each in lines_of(tmp_path / "2", capfd, server, access_log="off") if "/b?q=" in each]


def test_what_the_settings_say_wins_over_the_apps_own_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release/gunicorn.conf.py").write_text("accesslog = None\nlogger_class = 'gunicorn.glogging.Logger'\n")
    found = lines_of(tmp_path, capfd, "gunicorn", access_log="json")
    assert {json.loads(each)["status"] for each in found if each.startswith("{")} == {200}


@pytest.mark.parametrize(
    ("server", "settings", "said"),
    [
        ("uvicorn", {"access_log": "json", "args": ("--log-config", "mine.json")}, "keep one of them"),
        ("uvicorn", {"access_log": "plain", "args": ("--no-access-log",)}, "keep one of them"),
    ],
)
def test_what_says_two_things_is_refused(server: str, settings: dict[str, Any], said: str) -> None:
    why = runtimes.get(server).refuse(serving(**settings))
    assert why and said in f"{why}; {why.hint}"


@pytest.mark.parametrize("kind", ["off", "plain", "json"])
def test_the_standalone_file_has_it_too(tmp_path: Path, kind: str) -> None:
    release = make_release(tmp_path, WSGI)
    made = serving(interface="wsgi", access_log=kind)
    for name, text in standalone(runtimes.get("gunicorn"), made, 8000).items():
        (release / name).write_text(text)
    command = [".venv/bin/python", "-m", "gunicorn", "--config", "gunicorn.conf.py", "--print-config"]
    shown = subprocess.run(command, cwd=release, capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in shown.replace(" ", "").splitlines() if "=" in line)
    assert found["accesslog"] == ("None" if kind == "off" else "-")
    assert ("AccessLogger" in found["logger_class"]) == (kind == "json")
