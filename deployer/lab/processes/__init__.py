"""Labs of processes: every host is an unprivileged sshd and a supervisord on a loopback address of its own."""

from deployer.lab.processes.fleet import Processes

__all__ = ["Processes"]
