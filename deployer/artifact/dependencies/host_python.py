"""The interpreter that an app runs on, as a host described it (`venv.inspect`), and what installs into it."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass
from typing import Literal

from deployer.agent.model.messages.dependencies import PythonFacts
from deployer.errors import NotReadyError

Installer = Literal["uv", "pip", "none"]
_OLDEST_MANYLINUX = 17  # glibc 2.17, manylinux2014


@dataclass(frozen=True)
class HostPython:
    """One interpreter. `version` is exact (`3.11.2`); `libc` is `glibc 2.36` or `musl`; `uv` a path or empty."""

    path: str
    version: str
    implementation: str
    abi: str
    arch: str
    libc: str
    installer: Installer
    uv: str = ""

    @classmethod
    def of(cls, inspected: PythonFacts, installer: Installer, uv: str | None = None) -> HostPython:
        """From what `venv.inspect` answered, and `choose_installer`'s choice."""
        return cls(
            path=inspected["path"],
            version=inspected["version"],
            implementation=inspected["implementation"],
            abi=inspected["abi"],
            arch=inspected["arch"],
            libc=inspected["libc"],
            installer=installer,
            uv=uv or "",
        )

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def glibc(self) -> int | None:
        """36 for glibc 2.36; None for another libc."""
        match = re.search(r"2\.(\d+)", self.libc)
        return int(match[1]) if match else None

    @property
    def same_as_here(self) -> bool:
        """Whether this process's own interpreter takes the same wheels, so that pip may decide here."""
        controller = (platform.system(), platform.machine(), sys.implementation.name, sys.version_info[:2])
        host = ("Linux", self.arch, self.implementation, tuple(int(part) for part in self.minor.split(".")))
        return controller == host and bool(platform.libc_ver()[0]) == bool(self.glibc)

    @property
    def uv_platform(self) -> str:
        """What uv calls this platform (`--python-platform`)."""
        if self.glibc is None:
            return f"{self.arch}-unknown-linux-musl"
        return f"{self.arch}-manylinux_2_{28 if self.glibc >= 28 else _OLDEST_MANYLINUX}"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """Platform tags of wheels that run here, the most specific first."""
        if self.glibc is None:
            return (*(f"musllinux_1_{minor}_{self.arch}" for minor in (2, 1)), f"linux_{self.arch}")
        made_for = range(self.glibc, _OLDEST_MANYLINUX - 1, -1)
        return (*(f"manylinux_2_{minor}_{self.arch}" for minor in made_for), f"manylinux2014_{self.arch}")

    @property
    def markers(self) -> dict[str, str]:
        """The environment of PEP 508 markers on this host."""
        names = {"cpython": "CPython", "pypy": "PyPy"}
        return {
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.arch,
            "platform_release": "",
            "platform_version": "",
            "platform_python_implementation": names.get(self.implementation, self.implementation),
            "implementation_name": self.implementation,
            "implementation_version": self.version,
            "python_version": self.minor,
            "python_full_version": self.version,
            "extra": "",
        }


def choose_installer(wanted: str, uv: str | None, host: str = "", givable: bool = False) -> Installer:
    """uv if it is wanted or, for `auto`, if the host has it or can be given it; else pip.

    Args:
        wanted: `python.installer`.
        uv: the path of uv on the host, from the survey's tools.
        givable: the host can run the uv of this machine.

    Raises:
        NotReadyError: uv is required, but the host has none and cannot run ours.
    """
    if wanted == "uv" and not uv and not givable:
        raise NotReadyError(
            "python.installer is uv, but this host has no uv and cannot run this machine's uv",
            host=host,
            hint="install uv there (pip install uv), or set python: {installer: auto} in deploy.yaml",
        )
    if wanted == "none":
        return "none"
    return "uv" if (uv or givable) and wanted in ("uv", "auto") else "pip"
