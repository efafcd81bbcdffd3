"""What tests of and in labs share: plain OpenSSH, as anyone would use it, and a name for the session's own lab."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployer.lab import HostEntry, Lab, LabSpec, down, up


def fresh_name() -> str:
    """A lab's name that no other test session has."""
    return f"t{os.getpid()}-{secrets.token_hex(2)}"


@contextmanager
def running(**spec: Any) -> Iterator[Lab]:
    """A lab of these parts (`LabSpec`), under a name of its own; it is taken down however the block ends."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, **spec), print)
    finally:
        down(name, print)


def ssh_argv(entry: HostEntry, *command: str, user: str = "", key: str = "") -> list[str]:
    """An `ssh` command line that knows the host's key or refuses, and asks nothing."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": entry["known_hosts"],
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "ConnectTimeout": "3",
    }
    words = [f"-o{name}={value}" for name, value in options.items()]
    target = f"{user or entry['user']}@{entry['host']}"
    return ["ssh", "-F", "none", *words, "-i", key or entry["key"], "-p", str(entry["port"]), target, *command]


def ssh(
    entry: HostEntry, command: str, *, user: str = "", key: str = "", text_in: str = "", timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Runs a shell command on a host of a lab, to its end."""
    argv = ssh_argv(entry, command, user=user, key=key)
    return subprocess.run(argv, input=text_in, capture_output=True, text=True, timeout=timeout, check=False)


def processes_with(text: str) -> list[str]:
    """The living processes that show `text` in their command line, environment, working folder or cgroup."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            traces = [words, (entry / "environ").read_bytes(), (entry / "cgroup").read_bytes()]
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue  # it has gone, or is not ours
        if words and (text in cwd or any(text.encode() in trace for trace in traces)):
            found.append(f"{entry.name} {words.replace(bytes(1), b' ').decode(errors='replace')}")
    return found
