"""Drivers of balancers that other packages add: kind → `module:class`, the module relative to `agent.balancer`.

None in this tree. A run with such a balancer sends another text in place of this one (`deployer.remote.plugin_driver`).
"""

from __future__ import annotations

DRIVERS: dict[str, str] = {}
