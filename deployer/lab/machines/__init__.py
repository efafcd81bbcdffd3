"""Labs of machines: every host is a real systemd, booted by systemd-nspawn. Needs root and cgroup v2."""

from deployer.lab.machines.fleet import Machines

__all__ = ["Machines"]
