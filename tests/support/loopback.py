"""Real SSH servers on loopback for these tests, and a TCP proxy that can delay or swallow what passes through it."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import selectors
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from deployer.inventory.model import Host, SshOptions


def free_port() -> int:
    """A TCP port of loopback that was free just now, and that the kernel gives to no connection by itself.

    A port of the range that it uses for outgoing connections may be one's own end by the time somebody binds it.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, lowest)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Makes a key pair at `path`."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


class Sshd:
    """An sshd of our own on loopback that lets this user in with `key`. Its known_hosts line is in `known_hosts`."""

    def __init__(self, folder: Path, *options: str, kinds: tuple[str, ...] = ("ed25519",)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = keygen(folder / "user")
        self.config = folder / "ssh_config"
        self.config.write_text("")
        self.known_hosts = folder / "known_hosts"
        self.host_keys = [keygen(folder / f"host_{kind}", kind) for kind in kinds]
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        for _ in range(5):
            self.port = free_port()
            self.pin()
            self.process = self._start(options)
            if self._listens():
                return
        raise AssertionError((folder / "log").read_text())

    def _start(self, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {key}" for key in self.host_keys),
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"PidFile {self.folder}/pid",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            *options,
            "MaxStartups 100",
        ]
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=log)

    def _listens(self) -> bool:
        """Whether it is this server that has the port now; False when somebody else was faster."""
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            said = (self.folder / "log").read_text()
            if "Server listening" in said:
                return True
            if self.process.poll() is not None and "in use" in said:
                return False
            assert self.process.poll() is None, said
            time.sleep(0.02)
        raise AssertionError("sshd did not start")

    def pin(self, port: int | None = None) -> None:
        """Writes the host keys to `known_hosts`, for another port if a proxy stands before."""
        lines = [f"[127.0.0.1]:{port or self.port} {key.with_suffix('.pub').read_text()}" for key in self.host_keys]
        self.known_hosts.write_text("".join(lines))

    def host(self, name: str = "web1", **changes: Any) -> Host:
        """This server as a host of an inventory; `changes` go into its SshOptions, `python` and `become` into it."""
        of_host = {key: changes.pop(key) for key in ("python", "become", "prefix") if key in changes}
        options: dict[str, Any] = {
            "hostname": "127.0.0.1",
            "user": getpass.getuser(),
            "port": self.port,
            "keys": (str(self.key),),
            "known_hosts": (str(self.known_hosts),),
        }
        return Host(name, SshOptions(**{**options, **changes}), **{"become": False, **of_host})

    def stop(self) -> None:
        """Ends the server; sessions under way go on."""
        self.process.terminate()
        self.process.wait(10)


class Proxy:
    """Passes TCP connections on to `port`, `delay` seconds late each way.

    It hangs up on the first `rude` connections; `swallow` drops all packets from then on.
    """

    def __init__(self, port: int, delay: float = 0.0, rude: int = 0) -> None:
        self.target = port
        self.rude = rude
        self.delay = delay
        self.swallowing = threading.Event()
        self.passed = 0
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """Nothing passes any more, and no connection is closed: what a pulled cable looks like."""
        self.swallowing.set()

    def close(self) -> None:
        """Closes the listener and all connections."""
        self._listener.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.accepted <= self.rude:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends.append(end)
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        waiting: list[tuple[float, bytes]] = []
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            while True:
                left = waiting[0][0] - time.monotonic() if waiting else None
                try:
                    heard = selector.select(None if left is None else max(0.0, left))
                    if self.swallowing.is_set():
                        threading.Event().wait()  # keeps both ends open, reads nothing
                    if heard:
                        data = source.recv(1 << 16)
                        if not data:
                            sink.shutdown(socket.SHUT_WR)
                            return
                        waiting.append((time.monotonic() + self.delay, data))
                    while waiting and waiting[0][0] <= time.monotonic():
                        data = waiting.pop(0)[1]
                        sink.sendall(data)
                        self.passed += len(data)
                except OSError:
                    return
