"""The kinds of value in `deploy.yaml`, checked where they come in, so that they can be written into units and configs.

All checks take what the file says and return it settled, or raise ValueError with a message for the user.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from deployer.agent.model.manifest import LONGEST_NAME, problem, reserved
from deployer.registry import Names
from deployer.settings.yaml.document import WrittenFloat

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)?\Z")
BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
"""A size's last letter, as systemd writes it → bytes."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
APP_NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}\Z")
USER_NAME = re.compile(r"^[a-z_][a-z0-9_-]{0,31}\Z")
ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")
UNIT_KEY = re.compile(r"^[A-Z][A-Za-z0-9]*\Z")
_SHELL_NAMES = ("PPID", "OPTIND", "SHELLOPTS", "BASHOPTS")  # a shell ends where it is to set one of these
_SYSTEMD_NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
DOMAIN = re.compile(
    r"^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
)
HEADER = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
PACKAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+_-]*\Z")
EMAIL = re.compile(r"[^\s@\x00-\x1f{}\"]+@[^\s@\x00-\x1f{}\"]+")
ISSUER = re.compile(r"internal|https://[!-z|~]+|http://(localhost|127\.0\.0\.1)(:\d+)?/[!-z|~]*")
LISTEN = re.compile(r"^([A-Za-z0-9.*-]*|\[[0-9A-Fa-f:.]+\]):(\d{1,5})\Z")
PYTHON_VERSION = re.compile(r"^3\.\d{1,2}(\.\d{1,2})?\Z")
SERVER_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")

QUOTED = r"""\\.|'[^']*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\\?\Z)"""
"""What stands in quotes in sh, also where the last quote is missing."""
_OPERATORS = re.compile(rf"{QUOTED}|(&&|\|\||>&|[;|&<>()])")
_SYSTEM_FOLDERS = {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr"}


class Misplaced(ValueError):
    """A mistake that shows above the `key` it is about: the path to it from there."""

    def __init__(self, message: str, key: tuple[str, ...]) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class NameIn:
    """Annotates text that must be one of `names`: a built-in word, or a name that an installed package adds."""

    names: Names

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of text, with `names.require` after it."""
        return core_schema.no_info_after_validator_function(self.names.require, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the names that count in this installation as the JSON Schema's `enum`."""
        return {**handler(schema), "enum": [*self.names.built_in, *self.names.added]}


def seconds(value: Any) -> Any:
    """`500ms`, `5s`, `2m`, `1h` or a number → seconds. Raises ValueError for anything else."""
    if isinstance(value, bool):
        raise ValueError("a duration is a number of seconds or text such as 500ms, 5s, 2m")
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError("a duration is finite")
        return float(value)
    match = _DURATION.match(str(value).strip())
    if not match:
        raise ValueError(f"{value!r} is not a valid duration: write 500ms, 5s, 2m, 1h or a number of seconds")
    return float(match[1]) * _UNITS[match[2]]


def env_text(value: Any) -> Any:
    """Return the value of an environment variable as text; numbers as they are written. ValueError for true, false and
    nothing, which could mean several texts, and for what no environment can hold."""
    if isinstance(value, bool):
        raise ValueError(f'could be several texts: write "{str(value).lower()}", or "{int(value)}", in quotes')
    if value is None:
        raise ValueError('has no value: write "" for an empty one, or remove it')
    if isinstance(value, int | float):
        return value.text if isinstance(value, WrittenFloat) else str(value)
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("has a NUL byte, which no environment can hold")
    if isinstance(value, str) and any(char in value for char in "\n\r"):
        raise ValueError("has more than one line: put it under secrets, which may have several")
    return value


def env_name(value: str) -> str:
    """`value`, if it can name an environment variable. The error does not repeat it: it may be a secret, misplaced."""
    if not ENV_NAME.match(value):
        raise ValueError("must be the name of an environment variable: letters, digits and _, no digit first")
    return value


def require_free_name(name: str) -> None:
    """Raise ValueError when a variable's name is the tool's own, or one that sh or systemd would not leave alone."""
    if name == "PORT" or name.startswith("DEPLOY_"):
        raise ValueError(f"{name} is set by the tool itself: choose another name")
    if name in _SHELL_NAMES:
        raise ValueError(f"{name} is a variable of the shell itself, which starts the app: choose another name")
    if name in _SYSTEMD_NAMES:
        raise ValueError(f"{name} passes systemd's sockets to a server: choose another name")


def one_line(value: str) -> str:
    """`value` without blanks around it, if it is one line that can stand in a config file; ValueError otherwise."""
    text = value.strip()
    if not text or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("must be one line of text, not empty and without control characters")
    return text


def relative_path(value: str) -> str:
    """`value`, if it is a path that stays below its folder; ValueError otherwise."""
    if one_line(value).startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} must be a relative path that does not leave its folder")
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in value.split("/")):
        raise ValueError(f"{value[:40]!r}… has a name of more than {LONGEST_NAME} bytes, which no file can have")
    return value


def release_path(value: str) -> str:
    """`value`, if the app may have that path in a release; ValueError otherwise."""
    why = problem(relative_path(value).rstrip("/")) or reserved(value)
    if why:
        raise ValueError(f"{value!r} cannot be in a release: {why}")
    return value


def absolute_path(value: str) -> str:
    """`value` without a slash at its end, if it is an absolute path of plain characters; ValueError otherwise."""
    if not re.fullmatch(r"(/[A-Za-z0-9._@+-]+)+/?", value) or ".." in value.split("/"):
        raise ValueError(f"{value!r} must be an absolute path of letters, digits and . _ @ + -, but not / itself")
    return value.rstrip("/")


def site_root(value: str) -> str:
    """`value`, if a site may lie there: an absolute path below a folder that is not the system's own."""
    path = absolute_path(value)
    first, *rest = path.split("/")[1:]
    if not rest or first in _SYSTEM_FOLDERS:
        raise ValueError(f"{value!r} belongs to the system: choose a folder below /srv or /opt, such as /srv/shop")
    return path


def network(value: str) -> str:
    """`value` as an IP network, an address being one of its own; ValueError otherwise."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is not a valid network: write 192.0.2.0/24, or the address of one machine"
        ) from None


def user_name(value: str) -> str:
    """`value`, if it can be a system user; ValueError otherwise."""
    if not USER_NAME.match(value):
        raise ValueError(f"{value!r} is not a valid user name: lower-case letters, digits, _ and -, at most 32")
    return value


def find_operators(text: str) -> list[tuple[str, int]]:
    """Return the operators of the shell in `text` that stand outside of quotes, with their positions."""
    return [(match[1], match.start()) for match in _OPERATORS.finditer(text) if match[1]]


def one_program(value: str) -> str:
    """Return a command line that is one program with its words, as `exec` in sh takes it: `$NAMES` are replaced
    there."""
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"{value!r} cannot be parsed: {error}") from None
    for operator, _ in find_operators(value)[:1]:
        raise ValueError(f"a supervisor must see the program itself, and {operator} needs a shell: sh -c '… exec …'")
    return value


def matching(pattern: re.Pattern[str], words: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!r} is not a valid {words}")
        return value

    return AfterValidator(check)


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
Number = Annotated[int, Field(strict=True)]
AtLeastOne = Annotated[int, Field(strict=True, ge=1)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Workers = AtLeastOne | Literal["auto", "balanced", "io", "cpu"]
Line = Annotated[str, AfterValidator(one_line)]
Program = Annotated[str, AfterValidator(one_line), AfterValidator(one_program)]
ReleasePath = Annotated[str, AfterValidator(release_path)]
AbsolutePath = Annotated[str, AfterValidator(absolute_path)]
Network = Annotated[str, AfterValidator(network)]
SiteRoot = Annotated[str, AfterValidator(site_root)]
UserName = Annotated[str, AfterValidator(user_name)]
EnvName = Annotated[str, AfterValidator(env_name)]
EnvMap = dict[EnvName, Annotated[str, BeforeValidator(env_text)]]
PartName = Annotated[str, matching(APP_NAME, "name: a lower-case letter, then lower-case letters, digits or dashes")]
Domain = Annotated[str, matching(DOMAIN, "domain: write it without http:// and without a path")]
