"""The three sizes that guides describe, as settings, and where today's choice differs: `deploy init --scale`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deployer.settings.inference.app.apps import Interface

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = ("small", "medium", "large")


@dataclass(frozen=True)
class Scale:
    """One size. `servers` by the app's interface; `why` and `today` are comments, one line each, of deploy.yaml.

    `today` is where the choice differs from what guides have said for years. `inventory` is a file with `{env}`.
    """

    servers: dict[Interface, str]
    workers: int
    instances: int
    why: str
    today: str
    inventory: str


_ALONE = """\
# The one host of {env}. Replace the name by that of your server.
web:
  hosts:
    web1.example.com:       # a name or an address that ssh reaches
      ansible_user: root    # the user you log in as
# No balancer: systemd holds the port while the app restarts, so that requests wait and are not refused.
"""
_OWN_BALANCER = """\
# The one host of {env}, with a balancer of its own. Replace the name, twice, by that of your server.
web:
  hosts:
    web1.example.com:       # a name or an address that ssh reaches
      ansible_user: root    # the user you log in as
# HAProxy on the same host: a new release is proven beside the old one, then takes over, and no request waits.
balancers:
  hosts:
    web1.example.com:
      ansible_user: root
"""
_FLEET = """\
# The hosts of {env}: those that serve, and the balancer before them. Replace the names by those of your servers.
web:
  hosts:
    web1.example.com:       # a name or an address that ssh reaches
      ansible_user: root    # the user you log in as
    web2.example.com:
      ansible_user: root
# HAProxy knows every instance by its own port, and a push changes them in waves.
balancers:
  hosts:
    lb1.example.com:
      ansible_user: root
"""

_OF: dict[Size, Scale] = {
    "small": Scale(
        {"asgi": "uvicorn", "wsgi": "gunicorn"},
        workers=2,
        instances=1,
        why="small: one server on one host with two workers, so that one serves while the other is replaced",
        today="guides open the port in the app itself; here systemd holds it, so a restart refuses no request",
        inventory=_ALONE,
    ),
    "medium": Scale(
        {"asgi": "gunicorn+uvicorn", "wsgi": "gunicorn"},
        workers=8,
        instances=1,
        why="medium: gunicorn keeps eight workers alive, which suits about four cores (workers: auto counts the cores)",
        today="guides name uvicorn.workers.UvicornWorker, which is deprecated (the package uvicorn-worker has it now), "
        "and --preload, with which a reload keeps the old code",
        inventory=_OWN_BALANCER,
    ),
    "large": Scale(
        {"asgi": "gunicorn+uvicorn", "wsgi": "gunicorn"},
        workers=4,
        instances=2,
        why="large: two instances of four workers on each host, at ports 8000 and 8001, behind a balancer",
        today="guides reload each by HUP; drained at the balancer and started anew, an instance also gets new "
        "dependencies, and a release that fails goes back before the next wave",
        inventory=_FLEET,
    ),
}


def scale(size: Size) -> Scale:
    """Return the settings of one size."""
    return _OF[size]
