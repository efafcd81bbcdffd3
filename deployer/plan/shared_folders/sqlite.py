"""Warnings about a database in a file of SQLite: every host would have its own, or no folder outlives releases."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployer.plan.topology import Topology

_URL = re.compile(r"sqlite(?:\+\w+)?:///")
_SERVER_URL = re.compile(r"(?:postgres|postgresql|mysql|mariadb|oracle|mssql|cockroachdb)[\w+]*://")


def remarks(topology: Topology, in_code: str, secrets: Mapping[str, str]) -> list[str]:
    """At most one warning.

    Args:
        in_code: where the code names a file of SQLite (`settings.py:80`); empty if it does not. It counts only where no
            variable or secret holds the URL of a database server.
        secrets: name → value; no value is shown.
    """
    where = _where(topology, in_code, secrets)
    hosts = len(topology.everywhere)
    if not where:
        return []
    if hosts > 1:
        return [
            f"{where} keeps the database in a file of SQLite, but there are {hosts} hosts: each has its own file, "
            "and the release hook migrates only one. Use a database server, or one host"
        ]
    if not topology.settings.shared:
        return [
            f"{where} keeps the database in a file of SQLite, but releases are read-only: put it into a folder such as "
            "data/, and write shared: [data/] in deploy.yaml"
        ]
    return []


def _where(topology: Topology, in_code: str, secrets: Mapping[str, str]) -> str:
    env = topology.settings.env
    named = [f"env.{name} in deploy.yaml" for name, value in env.items() if _URL.match(str(value))]
    named += [f"the secret {name}" for name, value in secrets.items() if _URL.match(value)]
    served = any(_SERVER_URL.match(str(value)) for value in (*env.values(), *secrets.values()))
    return next(iter(named), "" if served else in_code)
