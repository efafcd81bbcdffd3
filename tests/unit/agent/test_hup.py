"""An instance is reloaded in place: real gunicorn and uvicorn, with the run script and config that releases have."""

from __future__ import annotations

import json
import os
import site as python_site
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import supervised
from supervised import World

from deployer import runtimes
from deployer.agent.instance import operations as instance
from deployer.agent.model.messages.instances import InstanceSwitched
from deployer.agent.operation import Context, OpError
from deployer.agent.site import ledger
from deployer.agent.system import procfs
from deployer.runtimes import Serving, Target
from deployer.runtimes.run import render_run
from deployer.settings.models import Runtime

WSGI = """
import os, json
def app(environ, start_response):
    import only_here
    said = {"release": os.environ["DEPLOY_RELEASE"], "cwd": os.getcwd(), "module": only_here.NAME, "pid": os.getpid(),
            "paths": __import__("sys").path, "path": os.environ["PATH"]}
    start_response(STATUS, [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]
"""
ASGI = """
import os, json, only_here
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = json.dumps({"release": os.environ["DEPLOY_RELEASE"], "pid": os.getpid()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
CHECK = {"check": ["--check-config"]}


@pytest.fixture
def host() -> Iterator[World]:
    with supervised.world() as made:
        [packages] = Path(made.site.venv("k")).glob("lib/python3*/site-packages")
        (packages / "tests.pth").write_text("\n".join(python_site.getsitepackages()))
        made.tune(within=30.0)
        yield made


def release(host: World, name: str, server: str = "gunicorn", *, code: str = WSGI, status: str = "200 OK") -> str:
    """A complete release of that server's, with two workers."""
    host.release(name, code.replace("STATUS", repr(status)))
    folder = Path(host.site.release(name))
    (folder / "only_here.py").write_text(f"NAME = {name!r}\n")
    interface: Literal["asgi", "wsgi"] = "asgi" if code == ASGI else "wsgi"
    made = Serving(
        "shop", Target("app:app", interface), Runtime(graceful_timeout=5.0), "127.0.0.1", workers=2, release=name
    )
    runtime = runtimes.get(server)
    for path, text in runtime.files(made).items():
        (folder / path).write_text(text)
    text = render_run(
        made,
        runtime,
        base_port=host.instance.port,
        spare_port=host.instance.port + 1,
        env={"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"},
        app="shop",
        env_name="test",
        release=name,
        secrets_file=host.site.secrets,
        slots=host.site.slots,
    )
    (folder / "run").write_text(text)
    return name


def reload(host: World, name: str, previous: str | None, via: str = "push", check: Any = CHECK) -> InstanceSwitched:
    return instance.switch(Context(), {**host.args(name, previous, via), "reload": check})


def refused(host: World, name: str, previous: str | None, **more: Any) -> OpError:
    with pytest.raises(OpError) as caught:
        reload(host, name, previous, **more)
    return caught.value


def served(host: World) -> dict[str, Any]:
    """What a user gets."""
    with urllib.request.urlopen(f"http://127.0.0.1:{host.instance.port}/", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def stay(first: InstanceSwitched, second: InstanceSwitched) -> bool:
    """Whether the master is the same in both answers, and none of the workers."""
    kept = set(first["pids"]) & set(second["pids"])
    return len(kept) == 1 and all(supervised.parent_of(pid) in kept for pid in set(second["pids"]) - kept)


def test_workers_come_to_the_new_release_under_the_old_master(host: World) -> None:
    first = host.switch(release(host, "r1"))
    second = reload(host, release(host, "r2"), "r1")
    assert second["changed"] is True
    assert stay(first, second)
    said = served(host)
    assert (said["release"], said["module"], said["cwd"]) == ("r2", "r2", host.site.release("r2"))
    assert not [path for path in [*said["paths"], *said["path"].split(":")] if "/r1" in path]
    assert host.slot == "../releases/r2" and host.proof("r2")["proven"] is True
    assert ledger.half_done(host.site) == []


def test_the_release_that_the_master_was_started_for_may_go(host: World) -> None:
    first = host.switch(release(host, "r1"))
    reload(host, release(host, "r2"), "r1")
    os.system(f"rm -r {host.site.release('r1')}")
    third = reload(host, release(host, "r3"), "r2")
    assert stay(first, third) and served(host)["module"] == "r3"


def test_a_module_that_the_new_release_lacks_is_not_the_old_ones(host: World) -> None:
    """The app imports it with its first request, so the check that loads the app does not miss it."""
    host.switch(release(host, "r1"))
    release(host, "r2")
    os.unlink(host.site.release("r2") + "/only_here.py")
    error = refused(host, "r2", "r1")
    assert error.code == "unhealthy" and error.detail == {"restored": True, "serving": "r1"}
    assert served(host)["module"] == "r1"


def test_a_release_that_cannot_be_loaded_is_found_before_the_signal(host: World) -> None:
    pids = host.switch(release(host, "r1"))["pids"]
    error = refused(host, release(host, "r2", code=supervised.BROKEN), "r1")
    assert error.code == "check_failed" and "a_module_that_nobody_wrote" in error.message
    assert error.detail == {"restored": True, "serving": "r1"}
    # A worker may still have been missing when the first ones proved it.
    assert host.slot == "../releases/r1" and set(pids) <= set(host.proof("r1")["pids"]), "its workers were replaced"
    assert ledger.half_done(host.site) == []


def test_a_release_that_loads_and_is_sick_goes_back_by_a_restart(host: World) -> None:
    host.switch(release(host, "r1"))
    host.tune(within=3.0)
    error = refused(host, release(host, "r2", status="500 No"), "r1")
    assert error.code == "unhealthy" and error.detail == {"restored": True, "serving": "r1"}
    assert served(host)["release"] == "r1" and host.slot == "../releases/r1"


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_the_same_release_is_read_again(host: World, server: str) -> None:
    code, check = (WSGI, CHECK) if server == "gunicorn" else (ASGI, {"check": []})
    first = host.switch(release(host, "r1", server, code=code))
    again = reload(host, "r1", "r1", via="reload", check=check)
    assert stay(first, again)
    assert served(host)["pid"] in again["pids"]


def test_what_was_reloaded_goes_back_without_a_stop(host: World) -> None:
    first = host.switch(release(host, "r1"))
    reload(host, release(host, "r2"), "r1")
    back = reload(host, "r1", None, via="restore")
    assert stay(first, back) and served(host)["release"] == "r1"


def test_on_the_way_back_what_cannot_be_reloaded_is_restarted(host: World) -> None:
    host.switch(release(host, "r1"))
    host.switch(host.release("sick", supervised.GOOD), "r1")
    back = reload(host, "r1", None, via="restore")
    assert back["changed"] is True and served(host)["release"] == "r1"


def test_a_process_without_workers_would_die_so_it_is_left_alone(host: World) -> None:
    pids = host.switch(host.release("r1"))["pids"]
    error = refused(host, "r1", "r1", via="reload", check={"check": []})
    assert error.code == "cannot_reload" and "would die of SIGHUP" in error.message
    assert error.detail == {"restored": True, "serving": "r1"}
    assert host.proof("r1")["pids"] == pids and procfs.process(pids[0]) is not None


def test_secrets_that_are_younger_than_the_master_are_a_reason_not_to(host: World) -> None:
    host.switch(release(host, "r1"))
    Path(host.site.secrets).write_text("export KEY='new'\n")
    assert "its secrets changed" in refused(host, "r1", "r1", via="reload").message


def test_where_nobody_insists_on_a_reload_it_is_restarted(host: World) -> None:
    first = host.switch(release(host, "r1"))
    Path(host.site.secrets).write_text("export KEY='new'\n")
    again = reload(host, release(host, "r2"), "r1", check={**CHECK, "or_restart": True})
    assert not set(first["pids"]) & set(again["pids"]) and served(host)["release"] == "r2"
    error = refused(host, release(host, "r3", code=supervised.BROKEN), "r2", check={**CHECK, "or_restart": True})
    assert error.code == "check_failed", "one that cannot be loaded is no reason to stop what serves"
    assert set(again["pids"]) <= set(host.proof("r2")["pids"])


def test_other_dependencies_are_a_reason_not_to(host: World) -> None:
    host.switch(release(host, "r1"))
    release(host, "r2")
    os.unlink(host.site.release("r2") + "/.venv")
    os.symlink("../../venvs/other", host.site.release("r2") + "/.venv")
    assert "other dependencies" in refused(host, "r2", "r1").message
    assert host.slot == "../releases/r1"


def test_an_old_worker_that_does_not_end_in_time_is_ended(host: World) -> None:
    """Its request outlives the graceful time, as it would at a stop."""
    hangs = WSGI.replace(
        "    import only_here\n", '    import only_here, time\n    time.sleep("hang" in environ["PATH_INFO"] and 600)\n'
    )
    host.tune(within=6.0, graceful=1.0)
    first = host.switch(release(host, "r1", code=hangs))
    address = f"http://127.0.0.1:{host.instance.port}/hang"
    stuck = host.run(["curl", "-s", address])
    supervised.wait_until(lambda: bool(procfs.process(stuck.pid)), "the request")
    time.sleep(0.5)
    second = reload(host, release(host, "r2"), "r1")
    assert stay(first, second) and served(host)["release"] == "r2"
