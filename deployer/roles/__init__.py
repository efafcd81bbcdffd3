"""Roles: what a group of hosts is for. `setup_resources` gives all that one host must have."""

from __future__ import annotations

from deployer.roles.loader import load, load_all, roles_for
from deployer.roles.model import Role
from deployer.roles.setup import Adapters, Handlers, role_resources, setup_resources

__all__ = ["Adapters", "Handlers", "Role", "load", "load_all", "role_resources", "roles_for", "setup_resources"]
