"""Where everything of one app lies on one host. Controller and agent both read paths from here and nowhere else.

<root>/                     /srv/<app>
  releases/<id>/            read-only when complete
    run  .venv -> ../../venvs/<key>  .deploy-manifest.json  .deploy-release.json (the marker: written last, fsynced)
  venvs/<key>/
  slots/<port> -> ../releases/<id>
  processes/<name>@<number> -> ../releases/<id>
  schedules/<name> -> ../releases/<id>
  current      -> releases/<id>
  shared/
  .deploy/                  lock, ledger.jsonl, plan.json, secrets.env, drained.json …
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

from deployer.agent.model.typed import TypedDict, Wire

MARKER = ".deploy-release.json"
COMMANDS = ".deploy-processes"
"""The folder of a release that has a script for each of its processes and schedules."""
STATIC_NAMES, WWW = ".deploy-static.json", ".deploy-www"
"""The list of a release's own static files, and the folder that a web server on its host may serve them from."""
WITHIN = ".deploy-within"
"""The script of a release that runs its words as the release would: `sh .deploy-within WORDS…`."""


@dataclass(frozen=True)
class Site:
    """One app in one environment on one host.

    `root` is absolute and already includes `prefix`. `prefix` is "" on a real host. In a lab of plain processes it is
    the folder that stands for the host's `/`: that host's `etc`, `run` and `var` lie in it. `user` runs the app; it is
    the agent's own user where the agent is not root.
    """

    app: str
    env: str
    root: str
    prefix: str = ""
    user: str = ""

    def to_wire(self) -> Wire[Site]:
        """The site as JSON data."""
        return cast("Wire[Site]", asdict(self))

    @classmethod
    def of(cls, request: OnSite) -> Site:
        """The site that a request is about."""
        return cls(**cast("dict[str, str]", request["site"]))

    @property
    def releases(self) -> str:
        return self.root + "/releases"

    @property
    def venvs(self) -> str:
        return self.root + "/venvs"

    @property
    def slots(self) -> str:
        return self.root + "/slots"

    @property
    def processes(self) -> str:
        return self.root + "/processes"

    @property
    def schedules(self) -> str:
        return self.root + "/schedules"

    @property
    def current(self) -> str:
        return self.root + "/current"

    @property
    def shared(self) -> str:
        return self.root + "/shared"

    @property
    def state(self) -> str:
        return self.root + "/.deploy"

    @property
    def incoming(self) -> str:
        """Where a push gathers the content of a release before it is assembled."""
        return self.state + "/incoming"

    @property
    def lock(self) -> str:
        return self.state + "/lock"

    @property
    def ledger(self) -> str:
        return self.state + "/ledger.jsonl"

    @property
    def plan(self) -> str:
        return self.state + "/plan.json"

    @property
    def secrets(self) -> str:
        """`export NAME='value'` lines for sh, mode 0600, owned by the app's user."""
        return self.state + "/secrets.env"

    @property
    def secrets_before(self) -> str:
        """While a run has written other secrets and has not come to its end: what they were. Empty: there were none."""
        return self.state + "/secrets.before"

    @property
    def drained(self) -> str:
        """On a balancer host: which servers are out of the pool, since when, by whom and why."""
        return self.state + "/drained.json"

    @property
    def maintenance(self) -> str:
        """On a balancer host, while the app is closed to its users: who closed it, since when and why."""
        return self.state + "/maintenance.json"

    @property
    def adoption(self) -> str:
        """What of another tool's a person has allowed to take over here, and how far that has come."""
        return self.state + "/adoption.json"

    @property
    def front_before(self) -> str:
        """On a balancer host: somebody else's configuration as it was before its frontends were led to our pool."""
        return self.state + "/front.before"

    @property
    def host_state(self) -> str:
        """State of the host's own that all apps share: the short lock, what was created, the agent's archive."""
        return self.prefix + "/var/lib/deploy"

    def resources_before(self, part: str) -> str:
        """What files outside of the root were before the current run changed them (`agent.provisioning.snapshot`)."""
        return f"{self.host_state}/before/{self.app}-{self.env}.{part}.json"

    @property
    def sockets(self) -> str:
        """The folder of the instances' UNIX sockets (`agent.model.endpoints`), where they listen at those."""
        return f"{self.prefix}/run/deploy/{self.app}-{self.env}"

    @property
    def host_lock(self) -> str:
        return self.host_state + "/lock"

    def release(self, release: str) -> str:
        return self.releases + "/" + release

    def marker(self, release: str) -> str:
        return self.releases + "/" + release + "/" + MARKER

    def venv(self, key: str) -> str:
        return self.venvs + "/" + key

    def slot(self, port: int) -> str:
        return "%s/%d" % (self.slots, port)

    def process(self, name: str) -> str:
        """The link of one process, such as `worker@1`."""
        return self.processes + "/" + name

    def schedule(self, name: str) -> str:
        """The link of one schedule, such as `nightly`."""
        return self.schedules + "/" + name

    def system(self, path: str) -> str:
        """A path of the host's own (`/etc/haproxy/haproxy.cfg`) as it is found there."""
        return self.prefix + path


class OnSite(TypedDict):
    """A request about one site, which is most of them."""

    site: Wire[Site]
