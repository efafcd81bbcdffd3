"""The watchdog: what a run drained comes back when its agent does not bring it back, and not before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.balanced import until
from support.drainer import agent
from support.real_haproxy import House

from deployer.agent.balancer import drain_records
from deployer.agent.balancer import watchdog as balancer_watchdog
from deployer.agent.operation import Context
from deployer.agent.site import ledger
from deployer.agent.system import procfs
from deployer.balancers import Pool

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def watchdog(pool: Pool) -> dict[str, Any]:
    """The watchdog's process: pid and start."""
    found: dict[str, Any] = json.loads(Path(f"{pool.site.state}/watchdog-run-7.pid").read_text())
    return found


def runs(who: dict[str, Any]) -> bool:
    return procfs.alive(procfs.Process(who["pid"], 0, "", who["ticks"]))


@pytest.fixture
def pool(balancer_host: House) -> Pool:
    """Two servers, live."""
    made = balancer_host.pool("shop", balancer_host.web("web1"), balancer_host.web("web2"))
    balancer_host.apply(made)
    return made


def test_an_agent_killed_with_its_whole_session_leaves_nothing_drained(balancer_host: House, pool: Pool) -> None:
    one, two = (server.name for server in pool.servers)
    balancer_host.call("drain", pool, servers=[two], by="person", reason="a broken disk")
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.5) as process:
        who = watchdog(pool)
        assert os.getsid(who["pid"]) != os.getsid(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        assert balancer_host.state(pool)[one]["state"] == "DRAIN"
        until("the watchdog admits it", lambda: balancer_host.state(pool)[one]["held"] is None)
    states = balancer_host.state(pool)
    assert states[one]["state"] == "UP"
    assert (states[two]["state"], states[two]["held"]["by"]) == ("DRAIN", "person")
    until("the watchdog ends", lambda: not runs(who))
    assert ledger.read(pool.site)[-1] == {**ledger.read(pool.site)[-1], "run": "run-7", "servers": [one]}
    assert [name for name in os.listdir(pool.site.state) if name.startswith("watchdog-run-7")] == []


def test_nothing_is_admitted_while_the_agent_lives(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.5):
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert balancer_host.state(pool)[one]["state"] == "DRAIN"
            time.sleep(0.2)
        assert runs(watchdog(pool))


def test_a_stopped_agent_is_no_living_one(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.5) as process:
        process.send_signal(signal.SIGSTOP)
        until("the watchdog admits it", lambda: balancer_host.state(pool)[one]["state"] == "UP")
        process.send_signal(signal.SIGCONT)


def test_an_agent_without_a_controller_stays_until_its_watchdog_has_acted(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=2.0) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("lost\n")
        process.stdin.flush()
        began = time.monotonic()
        assert process.stdout.readline() == "wound up\n"
        assert time.monotonic() - began > 0.8
        assert balancer_host.state(pool)[one]["held"] is None
        assert drain_records.read(pool.site) == {}


def test_an_agent_whose_watchdog_was_killed_acts_itself(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.0) as process:
        assert process.stdin is not None and process.stdout is not None
        os.kill(watchdog(pool)["pid"], signal.SIGKILL)
        process.stdin.write("lost\n")
        process.stdin.flush()
        assert process.stdout.readline() == "wound up\n"
        until("it is back", lambda: balancer_host.state(pool)[one]["state"] == "UP")


def test_a_clean_end_ends_the_watchdog(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=600) as process:
        who = watchdog(pool)
        assert process.stdin is not None
        process.stdin.write("bye\n")
        process.stdin.flush()
        assert process.wait(20) == 0
        until("the watchdog ends", lambda: not runs(who))
        assert balancer_host.state(pool)[one]["state"] == "UP"


def test_a_new_run_takes_over_and_the_old_watchdog_touches_nothing(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=600) as process:
        who = watchdog(pool)
        process.kill()
        process.wait(10)
        assert balancer_host.call("recover", pool, run="run-8")["admitted"] == [one]
        balancer_host.call("drain", pool, run="run-8", servers=[one])
        until("the old watchdog ends", lambda: not runs(who))
        assert balancer_host.state(pool)[one]["held"]["run"] == "run-8"
        assert balancer_watchdog.put_back(pool.site, "run-7", balancer_host.driver(pool), "late") == []
        assert balancer_host.state(pool)[one]["state"] == "DRAIN"


def test_a_watchdog_waits_for_a_haproxy_that_is_away(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.0) as process:
        who = watchdog(pool)
        balancer_host.control("stop")
        process.kill()
        process.wait(10)
        until("its time is over", lambda: procfs.now() > who["ticks"] / 100 + 4)
        assert runs(who)
        assert one in drain_records.read(pool.site)
        balancer_host.control("start")
        until("the watchdog admits it", lambda: drain_records.read(pool.site) == {})
        assert balancer_host.state(pool)[one]["state"] == "UP"


def test_arming_twice_starts_one_watchdog(balancer_host: House, pool: Pool) -> None:
    driver, ctx = balancer_host.adapter.driver(pool), Context()
    order = Path(f"{pool.site.state}/watchdog-run-twice.json")
    first = balancer_watchdog.arm(ctx, pool.site, "run-twice", driver, 60)
    pid = order.with_suffix(".pid").read_text()
    for bound in (90, 30):
        assert balancer_watchdog.arm(ctx, pool.site, "run-twice", driver, bound) == first
        assert order.with_suffix(".pid").read_text() == pid
        balancer_watchdog.arm(ctx, pool.site, "run-twice", driver)  # as every drain does
        assert json.loads(order.read_text())["bound"] == bound
    balancer_watchdog.dismiss_others(pool.site, "run-8")
    until("it ends", lambda: not runs(json.loads(pid)))


def test_a_bound_that_was_made_longer_holds_from_that_moment(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=2.0) as process:
        assert answers(process, "out 6") == "armed"
        process.kill()
        died = time.monotonic()
        until("the watchdog admits it", lambda: balancer_host.state(pool)[one]["state"] == "UP")
        assert time.monotonic() - died > 4.5


def test_a_bound_that_was_made_shorter_holds_from_that_moment(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=600) as process:
        assert answers(process, "out 1") == "armed"
        process.kill()
        until("the watchdog admits it", lambda: balancer_host.state(pool)[one]["state"] == "UP")


def test_an_agent_that_was_asleep_is_told_that_its_drain_is_over(balancer_host: House, pool: Pool) -> None:
    """So nothing is stopped; and when it drains again, the watchdog is still there."""
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.5) as process:
        who = watchdog(pool)
        process.send_signal(signal.SIGSTOP)
        until("the watchdog admits it", lambda: balancer_host.state(pool)[one]["state"] == "UP")
        process.send_signal(signal.SIGCONT)
        assert answers(process, "out 600") == "not_out"
        assert balancer_host.state(pool)[one]["held"] is None
        assert answers(process, "drain") == "drained"
        assert watchdog(pool) == who and runs(who)
        process.kill()
        until("the watchdog admits it again", lambda: balancer_host.state(pool)[one]["state"] == "UP")


def test_a_server_that_the_balancer_forgot_to_hold_is_not_out(balancer_host: House, pool: Pool) -> None:
    one = pool.servers[0].name
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=600) as process:
        balancer_host.driver(pool).set([one], "ready")
        assert answers(process, "out 600") == "not_out"


def test_a_watchdog_that_waits_for_the_records_obeys_the_bound_that_was_said_meanwhile(
    balancer_host: House, pool: Pool
) -> None:
    one = pool.servers[0].name
    state = Path(pool.site.state)
    with agent(pool, balancer_host.adapter.driver(pool), one, bound=1.0) as process:
        process.send_signal(signal.SIGSTOP)
        with drain_records.editing(pool.site):
            path = state / "watchdog-run-7.json"
            order = json.loads(path.read_text())
            until("its time is over", lambda: procfs.now() > float((state / "watchdog-run-7.alive").read_text()) + 2.0)
            path.write_text(json.dumps({**order, "bound": 600}))
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert balancer_host.state(pool)[one]["state"] == "DRAIN"
            time.sleep(0.2)


def answers(process: subprocess.Popen[str], word: str) -> str:
    """What the agent answers to one word."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()
