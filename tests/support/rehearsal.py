"""Operations that only these tests need, sent to the host with the agent: what may go wrong in an operation."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployer.agent.channel import shutdown
from deployer.agent.model.typed import Operation, TypedDict
from deployer.agent.operation import Context, OpError, operation


class Anything(TypedDict):
    """A message of any kind."""


def _rehearsal(verb: str) -> Callable[[Callable[[Context, Any], Any]], Callable[[Context, Any], Any]]:
    """Registers a function as `rehearsal.<verb>`, which takes and answers any map."""
    spec: Operation[Any, Any] = Operation("rehearsal." + verb, Anything, Anything)
    return operation(spec)


def _note(path: str, word: str) -> None:
    with open(path, "a") as file:
        file.write(f"{word} {os.getpid()} {time.time():.3f}\n")


@_rehearsal("echo")
def echo(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    return args


@_rehearsal("noise")
def noise(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    print("a stray print")
    os.write(1, b"\x00\x00\x00\x05rubbish\n")
    subprocess.run(["echo", "a stray child"], check=True)
    return {"done": True}


@_rehearsal("register")
def register(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Leaves a word in the file `notes` at a loss and at the end."""
    notes = args["notes"]

    def fails() -> None:
        raise RuntimeError("one of them fails")

    shutdown.on_loss(lambda: _note(notes, "lost-1"))
    shutdown.on_loss(fails)
    shutdown.on_loss(lambda: _note(notes, "lost-2"))
    shutdown.on_end(lambda: _note(notes, "end"))
    return {"pid": os.getpid()}


@_rehearsal("flood")
def flood(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Sends events for `seconds`, much faster than any channel; notes when it is done."""
    ends = time.monotonic() + args["seconds"]
    count = 0
    while time.monotonic() < ends:
        ctx.output("x" * 1000)
        count += 1
    if args.get("notes"):
        _note(args["notes"], "flooded")
    return {"count": count, "lease_left": ctx.lease_left()}


@_rehearsal("work")
def work(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Says so, works for `seconds`, whatever happens; then tries a destructive act."""
    ctx.progress("begun")
    ends = time.monotonic() + args["seconds"]
    while time.monotonic() < ends and not ctx.cancelled.is_set():
        time.sleep(0.01)
    if args.get("notes"):
        _note(args["notes"], "worked")
        try:
            ctx.require_lease("delete everything")
            _note(args["notes"], "acted")
        except OpError as error:
            _note(args["notes"], error.code)
    return {"cancelled": ctx.cancelled.is_set()}


@_rehearsal("take")
def take(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Consumes `bytes` of the body (all by default), slowly if `pause` is given."""
    wanted = args.get("bytes", float("inf"))
    size = 0
    for chunk in ctx.body:
        size += len(chunk)
        time.sleep(args.get("pause", 0))
        if size >= wanted:
            break
    return {"size": size}


@_rehearsal("fault")
def fault(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    if args.get("odd"):
        return {"odd": object()}
    raise ZeroDivisionError("an operation's own fault")


@_rehearsal("escape")
def escape(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Leaves the login session; takes `seconds` to wind up when the controller is lost."""

    def slowly() -> None:
        _note(args["notes"], "began")
        time.sleep(args["seconds"])
        _note(args["notes"], "survived")

    shutdown.on_loss(slowly)
    before = Path("/proc/self/cgroup").read_text()
    escaped = shutdown.escape_session()
    return {"escaped": escaped, "before": before, "after": Path("/proc/self/cgroup").read_text()}
