"""A balancer of kind `command`: two servers, and a tool that keeps a word for each in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.agent.balancer import operations as balancer
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context
from deployer.balancers import Pool, Server
from deployer.balancers.command import Command

TOOL = """
f={folder}/$DEPLOY_SERVER
site="$DEPLOY_APP $DEPLOY_ENV $DEPLOY_BACKEND"
echo "$1 $site $DEPLOY_HOST $DEPLOY_INSTANCE $DEPLOY_ADDRESS $DEPLOY_PORT" >> {folder}/told
case $1 in
    state) cat $f ;;
    drain) {word} down ;;
    admit) {word} ready ;;
esac
"""

# A word as a whole: one that is only being written would be read as no word at all.
WORD = 'says() {{ echo "$@" > {folder}/$$ && mv {folder}/$$ {folder}/$DEPLOY_SERVER; }}; says'


class Place:
    """Two servers, and a tool that keeps a word for each in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site("shop", "prod", f"{folder}/srv", prefix=str(folder))
        self.word = WORD.format(folder=folder)
        (folder / "srv/.deploy").mkdir(parents=True)
        (folder / "tool").write_text(TOOL.format(folder=folder, word=self.word))
        self.says("web1-8000", "ready")
        self.says("web2-8000", "ready")
        self.commands: dict[str, Any] = {v: f"sh {folder}/tool {v}" for v in ("drain", "admit", "state")}

    def says(self, server: str, word: str) -> None:
        fresh = self.folder / "fresh"
        fresh.write_text(word + "\n")
        fresh.replace(self.folder / server)

    @property
    def driver(self) -> dict[str, Any]:
        """What the agent is told of this balancer."""
        servers = tuple(Server(f"web{n}-8000", f"192.0.2.{n}", 8000, f"web{n}:0") for n in (1, 2))
        health: Any = None
        options = {"timeout": 10.0, **self.commands}
        return dict(Command().driver(Pool(self.site, "theirs", servers, health, options=options)))

    def call(self, verb: str, ctx: Context | None = None, **args: Any) -> dict[str, Any]:
        given = {"site": self.site.to_wire(), "run": "run-1", "driver": self.driver, **args}
        answer: dict[str, Any] = getattr(balancer, verb)(ctx or Context(identity="me@here"), given)
        return answer

    def drain(self, ctx: Context | None = None, **args: Any) -> dict[str, Any]:
        """By a person: no watchdog is started."""
        return dict(self.call("drain", ctx, servers=["web1-8000"], by="person", **args)["servers"]["web1-8000"])

    def state(self) -> dict[str, Any]:
        return dict(self.call("state")["servers"]["web1-8000"])
