"""The Ansible inventory through which `deploy` sees a lab."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deployer.lab.model import HostEntry, LabSpec
from deployer.lab.place import Place


def write_inventory(
    spec: LabSpec, place: Place, hosts: Mapping[str, HostEntry], variables: Mapping[str, Mapping[str, Any]]
) -> Path:
    """Write the groups `web` and `balancers`, with `variables` a host (name → variables) beside the usual ones."""

    def described(name: str) -> dict[str, Any]:
        return {"ansible_host": hosts[name]["host"], **variables.get(name, {})}

    first = next(iter(hosts.values()))
    groups: dict[str, Any] = {
        "all": {
            "vars": {
                "ansible_user": first["user"],
                "ansible_port": first["port"],
                "ansible_ssh_private_key_file": first["key"],
                "deploy_known_hosts": first["known_hosts"],
            }
        },
        "web": {
            "hosts": {name: described(name) for name in spec.web_names},
            "vars": {"deploy_supervisor": spec.supervised_by},
        },
    }
    if spec.balancer_names:
        groups["balancers"] = {
            "hosts": {name: described(name) for name in spec.balancer_names},
            "vars": {"deploy_balancer": spec.balancer},
        }
    with place.inventory.open("w") as file:
        YAML().dump(groups, file)
    return place.inventory
