"""A lab's inventory with other hosts in its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from deployer.lab import Lab


def inventory(lab: Lab, path: Path, web: Sequence[str], balancers: Sequence[str] = (), kind: str = "haproxy") -> Path:
    """Writes it to `path`, with these web hosts, and these balancer hosts (of either part of the lab) of this kind."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    data = yaml.load(Path(lab.inventory).read_text())
    known = {**data["web"]["hosts"], **data.pop("balancers", {"hosts": {}})["hosts"]}
    data["web"]["hosts"] = {name: known[name] for name in web}
    if balancers:
        data["balancers"] = {"hosts": {name: known[name] for name in balancers}, "vars": {"deploy_balancer": kind}}
    with path.open("w") as out:
        yaml.dump(data, out)
    return path
