"""`servers.ask`: what a balancer's own host is answered by servers, asked at their addresses as the balancer asks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from deployer.agent.instance.health import ask as ask_health
from deployer.agent.model.endpoints import parts
from deployer.agent.model.messages import requests as wire
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context, operation

_AT_ONCE = 16  # servers that are asked at the same time
_PAUSE = 0.5  # seconds between two requests to one server


@operation(wire.SERVERS)
def ask(ctx: Context, request: wire.AskServers) -> wire.ServersAnswered:
    """Sends the health check to every server from this host."""
    until = time.monotonic() + float(request.get("wait") or 0)
    health = Health.from_wire(request["health"])

    def last_answer(place: str) -> wire.ServerAnswer:
        address, port = parts(place)
        while True:
            answer = ask_health(address, port, health, exactly=True)
            if answer.ok or time.monotonic() >= until or ctx.cancelled.wait(_PAUSE):
                return {"ok": answer.ok, "status": answer.status, "why": answer.why, "refused": answer.refused}

    names = sorted(request["servers"])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(last_answer, (str(request["servers"][name]) for name in names))
        return {"servers": dict(zip(names, answers))}
