"""Where this machine gets Debian packages from, so that the hosts of a lab can do the same."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from deployer.lab.commands import attempt


@dataclass(frozen=True)
class Apt:
    """The archives of a suite that this machine uses (`deb` lines), and its proxy settings; both may be empty."""

    mirror: str
    lines: tuple[str, ...]
    proxies: str


def apt_of(suite: str) -> Apt:
    """This machine's own apt configuration for `suite`; nothing when it has none, or another distribution's."""
    if shutil.which("apt-get") is None:
        return Apt("", (), "")
    answer = attempt(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]).stdout
    pairs = dict.fromkeys(tuple(line.split()) for line in answer.splitlines() if len(line.split()) == 2)
    ours = [(uri, release) for uri, release in pairs if release == suite or release.startswith(f"{suite}-")]
    mirror = next((uri for uri, release in ours if release == suite), "")
    settings = attempt(["apt-config", "dump"]).stdout.splitlines()
    proxies = "".join(f"{line}\n" for line in settings if re.match(r'Acquire::.*[Pp]roxy[^ ]* "', line))
    return Apt(mirror, tuple(f"deb {uri} {release} main" for uri, release in ours), proxies)
