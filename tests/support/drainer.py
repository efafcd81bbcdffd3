"""An agent in a process of its own that has drained a server, to be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployer.balancers import Pool
from support.balanced import environment

AGENT = """
import json, sys, threading
from deployer.agent.balancer import operations as balancer; from deployer.agent.channel import shutdown as wind
from deployer.agent.operation import Context, OpError
args = json.loads(sys.argv[1])
lease = [1.0]
ctx = Context(lease_left=lambda: lease[0])
balancer.watch(ctx, args)
balancer.drain(ctx, args)
print("drained", flush=True)
for line in sys.stdin:
    if line == "lost\\n":
        lease[0] = -1.0
        wind.the_end.finish(lost=True)
        print("wound up", flush=True)
    if line == "drain\\n":
        balancer.drain(ctx, args)
        print("drained", flush=True)
    if line.startswith("out"):
        try:
            balancer.watch(ctx, {**args, "bound": float(line.split()[1]), "out": args["servers"]})
            print("armed", flush=True)
        except OpError as error:
            print(error.code, flush=True)
    if line == "bye\\n":
        balancer.admit(ctx, args)
        wind.the_end.finish(lost=False)
        break
"""


@contextmanager
def agent(pool: Pool, driver: dict[str, Any], server: str, bound: float) -> Iterator[subprocess.Popen[str]]:
    """An agent in a process of its own that has drained `server`."""
    args = {
        "site": pool.site.to_wire(),
        "run": "run-7",
        "driver": driver,
        "bound": bound,
        "servers": [server],
        "timeout": 5,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT, json.dumps(args)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "drained\n"
        yield process
    finally:
        with process:
            process.kill()
