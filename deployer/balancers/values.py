"""Values that balancers' configurations are made of, checked: addresses, names, words. All raise SettingsError."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from deployer.balancers.base import Pool, Server, Www
from deployer.errors import SettingsError

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_HOST_NAME = re.compile(r"^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")

PATH = re.compile(r"^/[A-Za-z0-9/._@+-]*$")
"""A path that means the same in every configuration, without quotes."""


@dataclass(frozen=True)
class Listen:
    """Where a frontend listens. `name` is the frontend's, the same for every way to write one address."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """`:80`, `ADDRESS:80` or `[IPV6]:80`; SettingsError for anything else."""
        address, colon, port = text.rpartition(":")
        bracketed = address.startswith("[") and address.endswith("]")
        try:
            plain = "0.0.0.0" if address in ("", "*") else str(ipaddress.ip_address(address.strip("[]")))
        except ValueError:
            plain = ""
        if not colon or not plain or bracketed != (":" in plain) or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise SettingsError(
                f"balancer.listen: {text!r} is not an address to listen at",
                hint="write :80, 192.0.2.7:80, [::]:80 or [2001:db8::7]:80",
            )
        if "%" in plain:
            raise SettingsError(
                f"balancer.listen: {text!r} has a zone, which balancers cannot listen at",
                hint="write [::]:80, or an address that is not link-local",
            )
        return cls(plain, int(port))

    @property
    def name(self) -> str:
        if self.address == "0.0.0.0":
            return f"deploy-{self.port}"
        return f"deploy-{self.address.replace(':', '-')}-{self.port}"

    @property
    def reached_at(self) -> str:
        """An address at which its own host reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)

    @property
    def text(self) -> str:
        """As `bind` takes it."""
        if self.address == "0.0.0.0":
            return f":{self.port}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def texts(self) -> tuple[str, ...]:
        """As a server takes it that needs `:80` beside `[::]:80` to listen with IPv4 too."""
        return (self.text, f":{self.port}") if self.address == "::" else (self.text,)


def domain(text: str) -> str:
    """Return a name that the balancer serves, in lower case."""
    if not _HOST_NAME.match(text.lower()):
        raise SettingsError(f"domains: {text!r} is not a valid host name", hint="write a name such as shop.example.com")
    return text.lower()


def server(given: Server) -> Server:
    """Return a server whose name is a word and whose address is one, IPv6 in brackets, or the folder of a UNIX
    socket."""
    if PATH.match(given.address):
        return Server(word(given.name, "server"), given.address, int(given.port), given.instance)
    try:
        address = str(ipaddress.ip_address(given.address.removeprefix("[").removesuffix("]")))
        plain = f"[{address}]" if ":" in address else address
    except ValueError:
        plain = given.address
        if not _HOST_NAME.match(plain.lower()):
            raise SettingsError(f"{plain!r} is not an address at which a balancer can reach a server") from None
    if "%" in plain:
        raise SettingsError(f"the zone in {plain} is valid only on this machine, not on a balancer")
    return Server(word(given.name, "server"), plain, int(given.port), given.instance)


def word(text: str, what: str) -> str:
    """Return a name of only letters, digits, dots, dashes and underscores."""
    if not _NAME.match(text):
        raise SettingsError(f"{what}: {text!r} has other characters than letters, digits, dots, dashes and underscores")
    return text


def served(pool: Pool) -> Www | None:
    """Return the pool's files on the balancer's own host, checked: both are written into configurations as they are."""
    www = pool.www
    if www is not None and not (PATH.match(www.url) and PATH.match(www.root)):
        raise SettingsError(f"static files at {www.url!r} in {www.root!r} cannot be written into a configuration")
    return www
