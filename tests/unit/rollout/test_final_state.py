"""What a run that failed says at its end is what is seen then, whatever it believes to have put back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted import NEW, OLD, Rollout, World
from support.facts import change_survey, facts, host, server_state
from support.topologies import topology

from deployer.agent.model.messages.balancer import ServerState
from deployer.errors import DeployError, InterruptedRun, LeftBehindError, NeedsPersonError, RolloutError
from deployer.events import UNKNOWN
from deployer.plan.facts import Facts
from deployer.remote.errors import AgentError
from deployer.report.lines import finished
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling import final_state
from deployer.rollout.rolling.final_state import judged_end
from deployer.rollout.run.run import Run

UP = server_state(check="L7OK")
DOWN = server_state("DOWN", check="L4CON")
RESTORED = RolloutError("web1:0 is not healthy", log=["boom"])


def fleet(*serving: str | None, pool: ServerState | None = None, **down: str) -> Facts:
    """Hosts on which each instance serves a release (None: nothing runs), all UP at the balancer unless `pool` says."""
    hosts = [
        host(f"web{number}", [OLD, NEW], current=OLD, serving=[release] if release else [])
        for number, release in enumerate(serving, 1)
    ]
    servers = dict.fromkeys((f"web{number}-8000" for number in range(1, len(serving) + 1)), pool or UP)
    return replace(facts(*hosts), pools={"lb1": servers} if serving else {})


class Ending:
    """One run whose block raises, and what is seen after it: each look gets the next facts, the last one for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seen: Facts, silent: dict[str, DeployError] | None = None):
        self.run: Run = Rollout(World(topology(2, 1), OLD)).run
        self.looks = 0
        self._seen = list(seen)

        def read_facts(run: Run) -> Facts:
            self.looks += 1
            self._now = self._seen.pop(0) if len(self._seen) > 1 else self._seen[0]
            return self._now

        monkeypatch.setattr(final_state, "read_facts", read_facts)
        monkeypatch.setattr(final_state, "SETTLE_S", 0.4)
        monkeypatch.setattr(final_state, "_PAUSE_S", 0.05)
        monkeypatch.setattr(
            Pools, "states_of_answering", lambda pools: ({} if silent else self._now.pools, silent or {})
        )

    def after(self, before: Facts, error: DeployError) -> tuple[DeployError, str]:
        """The error that leaves the run, and its closing line."""
        with pytest.raises(DeployError) as caught, judged_end(self.run, before):
            raise error
        line = finished(self.run.record.finish(caught.value)).partition(" (after")[0]
        return caught.value, line


def test_what_serves_as_before_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    error, line = Ending(monkeypatch, fleet(OLD, OLD)).after(fleet(OLD, OLD), RESTORED)
    assert error is RESTORED and line == f"rolled back: {OLD} serves as before"


@pytest.mark.parametrize(
    "error", [RESTORED, InterruptedRun("stopped by a person"), AgentError("failed", "whatever it was")]
)
def test_what_does_not_serve_any_more_needs_a_person(monkeypatch: pytest.MonkeyPatch, error: DeployError) -> None:
    raised, line = Ending(monkeypatch, fleet(OLD, None)).after(fleet(OLD, OLD), error)
    assert isinstance(raised, NeedsPersonError) and raised.exit_status == 6
    assert raised.message.startswith("web2:0 does not serve") and raised.host == "web2"
    assert error.message in str(raised.cause) and "deploy logs prod" in str(raised.hint)
    assert line == f"failed: {OLD} serves on web1:0 as before, nothing serves on web2:0 any more"


def test_what_the_balancer_does_not_send_requests_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    raised, line = Ending(monkeypatch, fleet(OLD, OLD, pool=DOWN)).after(fleet(OLD, OLD), RESTORED)
    assert raised.exit_status == 6 and "DOWN (L4CON)" in str(raised.cause) and "nor web2:0" in raised.message
    assert line == "failed: nothing serves any more"


def test_where_no_balancer_can_be_asked_it_is_unknown_who_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: dict[str, DeployError] = {"lb1": AgentError("balancer_down", "HAProxy cannot be asked: no socket")}
    raised, line = Ending(monkeypatch, fleet(OLD, OLD), silent=silent).after(fleet(OLD, OLD), RESTORED)
    assert raised.exit_status == 6 and raised.message.startswith("web1:0 cannot be seen to serve")
    assert "nor web2:0" in raised.message and "deploy setup prod" in str(raised.hint)
    assert line == "failed: the release that serves is unknown: lb1: HAProxy cannot be asked: no socket"


def test_what_is_seen_to_be_down_is_so_though_no_balancer_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: dict[str, DeployError] = {"lb1": AgentError("balancer_down", "HAProxy cannot be asked")}
    _, line = Ending(monkeypatch, fleet(OLD, None), silent=silent).after(fleet(OLD, OLD), RESTORED)
    assert "the release that serves on web1:0 is unknown (lb1: HAProxy cannot be asked)" in line
    assert "nothing serves on web2:0 any more" in line


def test_a_check_that_is_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Ending(monkeypatch, fleet(OLD, OLD, pool=DOWN), fleet(OLD, OLD))
    raised, _ = ending.after(fleet(OLD, OLD), RESTORED)
    assert raised is RESTORED and ending.looks == 2


def test_what_did_not_serve_before_is_not_this_runs_fault_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    raised, line = Ending(monkeypatch, fleet(OLD, None)).after(fleet(OLD, None), RESTORED)
    assert raised is RESTORED
    assert line == f"rolled back: {OLD} serves on web1:0 as before, nothing serves on web2:0, as before"
    raised, line = Ending(monkeypatch, fleet(None, None)).after(fleet(None, None), RESTORED)
    assert raised is RESTORED and line == "rolled back: no release serves, as before"


def test_another_release_than_before_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = NeedsPersonError("web2:0 is not healthy")
    raised, line = Ending(monkeypatch, fleet(NEW, OLD)).after(fleet(OLD, OLD), stopped)
    assert raised is stopped
    assert line == f"failed: {NEW} serves on web1:0 now, {OLD} serves on web2:0 as before"


def test_of_a_host_that_was_away_from_the_beginning_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Ending(monkeypatch, fleet(OLD, None))
    ending.run.lost.add("web2")
    raised, line = ending.after(fleet(OLD, None), RESTORED)
    assert raised is RESTORED
    assert line == (
        f"rolled back: {OLD} serves on web1:0 as before, "
        "the release that serves on web2:0 is unknown (web2 is out of reach)"
    )


@pytest.mark.parametrize(
    ("lost", "line"),
    [
        (
            "web2",
            f"{OLD} serves on web1:0 as before, the release that serves on web2:0 is unknown (web2 is out of reach)",
        ),
        ("lb1", "the release that serves is unknown: lb1 is out of reach"),
    ],
)
def test_of_a_host_that_was_lost_in_the_run_it_is_unknown(
    monkeypatch: pytest.MonkeyPatch, lost: str, line: str
) -> None:
    seen = fleet(OLD, OLD)
    ending = Ending(monkeypatch, Facts(seen.hosts, {}) if lost == "lb1" else seen)
    with pytest.raises(NeedsPersonError) as caught, judged_end(ending.run, fleet(OLD, OLD)):
        ending.run.lost.add(lost)
        raise RESTORED
    assert caught.value.exit_status == 6 and f"once {lost} answers" in str(caught.value.hint)
    closing = ending.run.record.finish(caught.value)
    assert finished(closing).partition(" (after")[0] == f"failed: {line}"
    assert closing.serving is not None and closing.serving["web2:0"] == {
        "before": OLD,
        "now": UNKNOWN,
        "unknown": f"{lost} is out of reach",
    }


def test_where_nothing_can_be_seen_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = Ending(monkeypatch, fleet(OLD, OLD))

    def lost(run: Run) -> Facts:
        raise AgentError("lost", "the link is cut")

    monkeypatch.setattr(final_state, "read_facts", lost)
    raised, line = ending.after(fleet(OLD, OLD), RESTORED)
    assert raised is RESTORED and line == "rolled back: the release that serves is unknown"


def test_an_end_within_the_budget_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    left = LeftBehindError("web2:0 stayed behind")
    assert Ending(monkeypatch, fleet(NEW, None)).after(fleet(OLD, OLD), left)[0] is left


def test_what_serves_in_slots_that_the_settings_no_longer_have_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports have changed, so that nothing serves in the slots of today; then the run fails."""

    def moved(state: ServerState) -> Facts:
        found = fleet(None, None)
        hosts = {
            name: change_survey(each, slots={"7000": OLD}) if name.startswith("web") else each
            for name, each in found.hosts.items()
        }
        return Facts(hosts, {"lb1": {"web1-7000": state, "gone-8000": state}})

    raised, line = Ending(monkeypatch, moved(UP)).after(moved(UP), RESTORED)
    assert raised is RESTORED
    assert f"{OLD} serves on web1-7000 as before" in line and "an earlier release serves on gone-8000 as before" in line
    raised, _ = Ending(monkeypatch, moved(DOWN)).after(moved(UP), RESTORED)
    assert raised.exit_status == 6 and raised.message.startswith("gone-8000 does not serve")


def test_of_earlier_slots_too_it_is_unknown_while_no_balancer_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: dict[str, DeployError] = {"lb1": AgentError("balancer_down", "HAProxy cannot be asked")}
    before = fleet(OLD, OLD)
    before = Facts(before.hosts, {"lb1": {**before.pools["lb1"], "gone-8000": UP}})
    ending = Ending(monkeypatch, fleet(OLD, OLD), silent=silent)
    _, line = ending.after(before, RESTORED)
    assert line == "failed: the release that serves is unknown: lb1: HAProxy cannot be asked"
