"""Throw-away fleets of real hosts on this machine, to try and to test everything on.

lab = up(LabSpec(name="shop", kind="machines", hosts=3), progress=print)
lab.inventory                 # what `deploy -i` reads
lab.power_off("web2"); lab.cut("web1")
down("shop", progress=print)  # leaves nothing
"""

from deployer.lab.lab import Lab
from deployer.lab.lifecycle import down, names, status, up
from deployer.lab.model import HostEntry, LabSpec, Progress

__all__ = ["HostEntry", "Lab", "LabSpec", "Progress", "down", "names", "status", "up"]
