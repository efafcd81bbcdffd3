"""How one instance changes to a release: stop → link → start → prove, and the way back when that fails.

                  ┌──────────── already proven: nothing is touched
    stop ─→ link ─→ start ─→ prove ─→ done
      └──────┴───────┴─────────┴────→ undo: stop → link back → reset → start → prove

Where systemd keeps the port open it is link → restart → prove: a request that came between a stop and a start would
make systemd start whatever the link leads to. An instance whose port is to be kept from now on is stopped once more.
A reload (`reload.Reload`) is link → check → SIGHUP → prove; going back from one that failed is a restart.

Every state is written to the ledger, on the disk, before its act; each act converges from whatever a crash left. Only
the stop needs the controller's lease: once begun, the switch goes on to its end or back, controller or not.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deployer.agent.instance import health, proof
from deployer.agent.instance.proof import Proof
from deployer.agent.instance.reload import Reload
from deployer.agent.instance.unit import Unit
from deployer.agent.instance.wait import wait_for_free_port, wait_until_proven
from deployer.agent.model.endpoints import place
from deployer.agent.model.layout import Site
from deployer.agent.model.supervision import Instance
from deployer.agent.operation import Context, OpError
from deployer.agent.provisioning import operations as resource
from deployer.agent.provisioning.snapshot import UNITS
from deployer.agent.site import ledger, links, secrets
from deployer.agent.system import disk, port_owners, process_runner, procfs

if TYPE_CHECKING:
    from deployer.agent.model.messages.instances import InstanceSwitched

LOG_LINES = 30
_UNITS_WAIT = 5.0  # seconds for the host's lock, while nothing serves here
_KILLED = re.compile(r"status=9/KILL|(sent|terminated by|killed by) SIGKILL|oom-kill|Out of memory")
_KILLED_AT_STOP = re.compile(r"'stop-\S+' timed out")  # systemd's own SIGKILL, for what did not end when asked
_LAST_CHECKS = 3  # answers to health checks that are shown: an access log would hide everything else


class Switch:
    """One change of one instance. `previous` is the release to go back to; None: the slot was not in use."""

    def __init__(self, ctx: Context, site: Site, run: str, instance: Instance, reload: Reload | None = None) -> None:
        self._ctx = ctx
        self._site = site
        self._run = run
        self._instance = instance
        self._reload = reload
        self._workers: list[procfs.Process] = []
        self._or_restart = False
        self._unit = Unit(instance)
        self._release = ""
        self._previous: str | None = None
        self._within = instance.health.within
        self._held_port = False
        self._touched = False  # something was done to its processes
        self._log_before: list[str] = []

    def to(self, release: str, previous: str | None, via: str) -> InstanceSwitched:
        """Carries it out and returns `{pids, seconds, changed}`.

        Raises OpError when it failed; its detail says whether the instance was `restored` and what is `serving`.
        """
        began = time.monotonic()
        self._release, self._previous = release, previous
        self._or_restart = via == "restore"
        check = health.of_release(self._site, release, self._instance.health)
        self._within = check.within_again if via == "restore" else check.within
        links.require_complete(self._site, release)
        main = self._unit.main()
        self._held_port = self._unit.holds_port()
        as_wanted = self._held_port == self._instance.socket or self._reload is not None
        if via == "restore" or (via != "reload" and as_wanted):
            existing_proof = self._already(main)
            if existing_proof is not None:
                return {"pids": list(existing_proof.pids), "seconds": _since(began), "changed": False}
        self._refuse_a_taken_port(main)
        self._require_reloadable(main)
        self._begin(main)
        try:
            self._require_leave()
        except OpError as refusal:
            refusal.detail.update(restored=True, serving=self._still_serving(main))
            self._close(False, refusal.message, restored=True)
            raise
        try:
            pids = self._forward(main)
        except Exception as failure:  # whatever it was: the instance is down, so the old release must come back
            raise self._undone(failure) from failure
        self._close(True)
        return {"pids": list(pids), "seconds": _since(began), "changed": True}

    def _begin(self, main: int) -> None:
        """Writes the intent down. Where that cannot be, nothing is touched, and the error says what serves."""
        try:
            self._intend("stop" if self._reload is None else "reload")
        except OSError as error:
            refusal = disk.explain(error, "instance.switch", self._site.ledger)
            if refusal is None:
                raise
            refusal.detail.update(restored=True, serving=self._still_serving(main))
            raise refusal from error

    def _already(self, main: int) -> Proof | None:
        if links.release_at(self._site.slot(self._instance.port)) != self._release:
            return None
        existing_proof = proof.examine(self._site, self._instance, self._release, main)
        if not existing_proof.proven:
            return None
        if any(entry["instance"] == self._instance.index for entry in ledger.half_done(self._site)):
            self._close(True, "was already proven")
        return existing_proof

    def _require_leave(self) -> None:
        """The last moment to turn back with nothing touched."""
        if self._ctx.cancelled.is_set():
            raise OpError("cancelled", f"the run was cancelled before {self._unit.name} was stopped")
        self._ctx.require_lease(f"stop {self._unit.name}")

    def _still_serving(self, main: int) -> str | None:
        if self._previous is None:
            return None
        previous_proof = proof.examine(self._site, self._instance, self._previous, main)
        return self._previous if previous_proof.proven else None

    def _refuse_a_taken_port(self, main: int) -> None:
        """A stranger on our port is found before anything is touched."""
        stranger = _stranger(self._site, self._instance, main, self._held_port)
        if stranger:
            raise _taken(self._instance, stranger, {"restored": True, "serving": None})

    def _require_reloadable(self, main: int) -> None:
        """Nothing is touched where a reload is not possible; on the way back, or where none was insisted on, it is a
        restart then.
        """
        if self._reload is None:
            return
        serving = links.release_at(self._site.slot(self._instance.port)) or ""
        try:
            self._workers = self._reload.workers(main, serving, self._release)
        except OpError as refusal:
            if not (self._or_restart or self._reload.or_restart):
                refusal.detail.update(restored=True, serving=self._still_serving(main))
                raise
            self._ctx.progress(f"{refusal.message}; it is restarted")
            self._reload = None

    def _forward(self, main: int) -> tuple[int, ...]:
        if self._reload is not None:
            try:
                return self._reloaded(self._reload, main)
            except OpError as failure:
                if not self._or_restart:
                    raise
                self._ctx.progress(f"{failure.message}; it is restarted")
        stays = self._instance.socket and self._held_port
        if not stays:
            self._stop(main)
        self._intend("link")
        self._link(self._release)
        self._log_before = self._unit.log(LOG_LINES)
        self._intend("start")
        opens = self._instance.socket and not stays
        return self._start(self._release, self._within, self._ctx.cancelled, restart=stays, opens=opens)

    def _reloaded(self, reload: Reload, main: int) -> tuple[int, ...]:
        self._link(self._release)
        self._log_before = self._unit.log(LOG_LINES)
        reload.try_out(self._release)
        self._touched = True
        return reload.carry_out(self._release, main, self._workers, self._within).pids

    def _open_port(self) -> None:
        opened = self._unit.open_port()
        if not opened.ok:
            why = "%s cannot open port %d: %s" % (self._instance.verbs.socket, self._instance.port, opened.why)
            raise OpError("did_not_start", why, "deploy setup {env} installs its unit", log=opened.log())

    def _stop(self, main: int) -> None:
        self._ctx.progress(f"stopping {self._unit.name}")
        self._touched = True
        self._unit.close_port()
        known = procfs.process(main) if main else None
        deadline = time.monotonic() + self._unit.stop_bound
        stop_result = self._unit.stop()
        stranger = wait_for_free_port(self._site, self._instance, self._unit, known, deadline, stop_result)
        if stranger:
            raise _taken(self._instance, stranger)

    def _link(self, release: str) -> None:
        enabled = self._unit.enable()
        if not enabled.ok:
            self._ctx.progress(f"{self._unit.name} will not start at boot: {enabled.why}")
        links.point_slot(self._site, self._instance.port, release)

    def _start(
        self, release: str, within: float, cancelled: threading.Event | None, *, restart: bool, opens: bool
    ) -> tuple[int, ...]:
        """From here on whoever starts it starts the release: once its port is open, the first request does."""
        self._touched = True
        self._ctx.progress(f"{'restarting' if restart else 'starting'} {self._unit.name} with release {release}")
        self._unit.reset()
        began = procfs.now()
        if opens:
            self._open_port()
        new_proof = wait_until_proven(
            self._site, self._instance, self._unit, release, began, within, cancelled, restart=restart
        )
        return new_proof.pids

    def _undone(self, failure: Exception) -> OpError:
        """Goes back as far as it can; returns the error to raise, which says how far that was."""
        error = _as_error(failure)
        if not error.log:
            error.log = self._own_words()
        if error.code in ("did_not_start", "unhealthy") and _was_killed(error.log):
            error.hint = process_runner.OUT_OF_MEMORY
        self._ctx.progress(f"{self._unit.name}: {error.message}; going back")
        problem = ""
        try:
            self._intend_if_possible("undo")
            self._go_back()
        except Exception as second:
            problem = _as_error(second).message
        restored = not problem
        error.detail["restored"] = restored
        error.detail["serving"] = self._previous if restored else None
        if problem:
            error.detail["undo"] = problem
        self._close(False, error.message, restored=restored, undo=problem)
        return error

    def _own_words(self) -> list[str]:
        """The last lines of its log since the start; of its answers to health checks only the last few."""
        lines = self._unit.log_since(self._log_before, 20 * LOG_LINES)
        health_path = f" {self._instance.health.path} "
        checks = [line for line in lines if "GET" in line and health_path in line]
        boring = set(checks[:-_LAST_CHECKS])
        return [line for line in lines if line not in boring][-LOG_LINES:]

    def _go_back(self) -> None:
        secrets.put_back(self._site)
        self._units_back()
        slot = links.release_at(self._site.slot(self._instance.port))
        if (slot == self._previous or not self._touched) and self._still_serving(self._unit.main()):
            # It never left: its link may have, or the supervisor refused to stop it.
            self._link(str(self._previous))
            return
        stays = self._held_port and self._previous is not None and self._unit.holds_port()
        if not stays:
            self._stop(self._unit.main())
        if self._previous is None:
            links.empty_slot(self._site, self._instance.port)
            self._unit.disable()
            self._unit.reset()
            return
        links.require_complete(self._site, self._previous)
        self._link(self._previous)
        opens = self._held_port and not stays
        check = health.of_release(self._site, self._previous, self._instance.health)
        self._start(self._previous, check.within_again, None, restart=stays, opens=opens)

    def _units_back(self) -> None:
        """What was there before ran by the units of before: those of the run may be what nothing starts with."""
        try:
            resource.put_back(self._ctx, self._site, self._run, UNITS, new=False, bound=_UNITS_WAIT)
        except Exception as error:  # whatever it is, what was there before is to be started
            self._ctx.progress(f"units stay as the run has made them: {error}")

    def _intend(self, state: str) -> None:
        ledger.append(self._site, {**self._entry("intent"), "state": state})

    def _intend_if_possible(self, state: str) -> None:
        try:
            self._intend(state)
        except OSError:  # a full disk must not keep the old release from coming back
            self._ctx.progress("the ledger cannot be written")

    def _close(self, ok: bool, why: str = "", *, restored: bool | None = None, undo: str | None = None) -> None:
        entry: ledger.Entry = {**self._entry("outcome"), "ok": ok, "why": why}
        if restored is not None:
            entry["restored"] = restored
        if undo is not None:
            entry["undo"] = undo
        try:
            ledger.append(self._site, entry)
        except OSError as error:
            self._ctx.progress(f"the ledger cannot be written: {error}")

    def _entry(self, event: str) -> ledger.Entry:
        return {
            "run": self._run,
            "event": event,
            "op": "switch",
            "instance": self._instance.index,
            "port": self._instance.port,
            "release": self._release,
            "previous": self._previous,
        }


def _stranger(site: Site, instance: Instance, main: int, held_port: bool) -> str:
    """Who holds the port and is none of ours, in words; empty when nobody does. `held_port`: systemd has it for us."""
    held = port_owners.find_port_owner(instance.address, instance.port)
    if held.waiting and not held_port:
        return port_owners.FOREIGN
    for pid in held.pids:
        if not port_owners.belongs(pid, main, instance.verbs.unit) and port_owners.release_of(site, pid) is None:
            return port_owners.describe_process(pid)
    return "" if main or not held.unseen else "a process of user " + ", ".join(held.unseen)


def _taken(instance: Instance, who: str, detail: dict[str, Any] | None = None) -> OpError:
    return OpError(
        "port_taken",
        f"{place(instance.address, instance.port)} is held by {who}, which deploy did not start",
        "stop that process, or set another port in deploy.yaml",
        detail=detail,
    )


def _as_error(failure: Exception) -> OpError:
    if isinstance(failure, OpError):
        return failure
    hint = "look at the disk and the rights of the site's folders" if isinstance(failure, OSError) else ""
    return OpError("did_not_start", f"the host refused: {type(failure).__name__}: {failure}", hint)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _was_killed(log: Sequence[str]) -> bool:
    """Whether the log tells of a SIGKILL that was not the supervisor's own, for what did not stop in time."""
    return any(map(_KILLED.search, log)) and not any(map(_KILLED_AT_STOP.search, log))
