"""What counts as proof, shown with processes that pretend."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import supervised
from supervised import World

from deployer.agent.instance import wait
from deployer.agent.instance.unit import Unit
from deployer.agent.system import port_owners, procfs
from deployer.agent.system.process_runner import run


@pytest.fixture
def host() -> Iterator[World]:
    with supervised.world() as made:
        yield made


def test_an_orphan_that_answers_for_its_dead_master_proves_nothing(host: World) -> None:
    host.switch(host.release("r1", supervised.ORPHANS))
    assert host.proof("r1")["proven"] is True
    orphan = host.kill_the_master()
    seen = host.proof("r1")
    assert seen["proven"] is False
    assert seen["release"] == "r1"
    assert f"held by process {orphan} (" in seen["why"]
    assert "does not belong to shop-" in seen["why"]


def test_the_right_words_on_the_command_line_of_a_stranger_prove_nothing(host: World) -> None:
    host.release("r1")
    python = os.path.realpath(host.site.venv("k") + "/bin/python")
    words = host.site.release("r1") + "/.venv/bin/python app.py"
    port = host.instance.port
    code = f"import socket,time; s=socket.socket(); s.bind(('127.0.0.1',{port})); s.listen(); time.sleep(600)"
    host.run(["/bin/bash", "-c", 'exec -a "$1" "$2" -c "$3"', "bash", words, python, code], cwd="/")
    supervised.wait_until(lambda: bool(procfs.listeners([port])), "the stranger's socket")
    seen = host.proof("r1")
    assert seen["proven"] is False
    assert words in seen["why"], "it is named as it calls itself"
    assert port_owners.find_port_owner("127.0.0.1", port).pids == tuple(seen["pids"])
    assert wait.wait_for_free_port(host.site, host.instance, Unit(host.instance), None, 0.0, run(["true"], timeout=5))


def test_a_release_that_renames_its_own_process_is_still_proven(host: World) -> None:
    name = "gunicorn: master (shop) 1 2 3"
    renames = f"#!/bin/bash\nexec -a '{name}' .venv/bin/python app.py"
    host.release("r1")
    Path(host.site.release("r1") + "/run").write_text(renames)
    (pid,) = host.switch("r1")["pids"]
    assert procfs.command(pid).startswith(name)
    assert host.proof("r1")["proven"] is True


def test_the_age_the_folder_and_the_interpreter_all_count(host: World) -> None:
    host.switch(host.release("r1"))
    assert host.proof("r1", after=procfs.now() - 60)["proven"] is True
    assert "before this step" in host.proof("r1", after=procfs.now() + 1)["why"]
    assert "not in release r2" in host.proof(host.release("r2"))["why"]

    venv = Path(host.site.venv("k")) / "bin/python"
    venv.unlink()
    venv.symlink_to("/bin/sh")
    assert "not the interpreter of release r1 (" in host.proof("r1")["why"]

    Path(host.site.release("r1") + "/.venv").unlink()  # `server: command` may have no virtualenv at all
    assert host.proof("r1")["proven"] is True


def test_a_process_with_a_folder_of_a_similar_name_is_not_in_the_release(host: World) -> None:
    host.switch(host.release("r10"))
    host.release("r1")
    seen = host.proof("r1")
    assert (seen["proven"], seen["release"]) == (False, "r10")


def test_a_stranger_beside_us_on_the_same_port_spoils_the_proof(host: World) -> None:
    shared = supervised.GOOD.replace(
        "def serve():", "http.server.ThreadingHTTPServer.allow_reuse_port = True\ndef serve():"
    ).replace(
        'server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)',
        "import socket\n"
        '    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler, False)\n'
        "    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
        "    server.server_bind()\n    server.server_activate()",
    )
    host.switch(host.release("r1", shared))
    env = {**os.environ, "PORT": str(host.instance.port)}
    stranger = host.run([sys.executable, "-c", shared], cwd="/", env=env)
    supervised.wait_until(lambda: len(procfs.listeners([host.instance.port])) == 2, "the second socket")
    seen = host.proof("r1")
    assert seen["proven"] is False
    assert f"held by process {stranger.pid} (" in seen["why"]


def test_nothing_runs_at_all(host: World) -> None:
    assert host.proof(host.release("r1")) == {
        "proven": False,
        "why": f"shop-{host.instance.port} is not running",
        "pids": [],
        "release": None,
        "unseen": False,
        "instance": 0,
    }
