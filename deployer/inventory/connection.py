"""A host's connection, from the `ansible_*` variables and the few of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from deployer.errors import InventoryError
from deployer.inventory.formats.raw import Value
from deployer.inventory.model import Host, SshOptions
from deployer.inventory.names import host_and_port, why_unreachable
from deployer.inventory.ssh_args import SshArgs, read_ssh_args
from deployer.inventory.variables import Variables

_SSH_KINDS = ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.netcommon.libssh")
_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
_ARGS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")


def host_from(name: str, values: Mapping[str, Value], groups: frozenset[str], folder: Path) -> Host:
    """Return the host `name` with its merged variables.

    Args:
        folder: that of the inventory; relative paths of keys and known_hosts files start there.

    Raises: InventoryError naming host, variable, file and line, for a connection that cannot be made from here.
    """
    variables = Variables(name, values)
    _refuse_other_connections(variables)
    return Host(
        name=name,
        ssh=_ssh(variables, folder),
        groups=groups,
        variables={key: value for key, value in variables.plain().items() if key not in _PASSWORDS},
        python=_python(variables),
        prefix=_prefix(variables),
        become=_become(variables),
        become_password=_password(variables),
    )


def _refuse_other_connections(variables: Variables) -> None:
    kind = variables.text("ansible_connection")
    if kind is not None and kind not in _SSH_KINDS:
        hint = "give this machine an sshd and a host name: 127.0.0.1" if kind == "local" else "remove it: hosts use ssh"
        raise variables.wrong(
            "ansible_connection", f"ansible_connection {kind} cannot be used: all hosts use ssh", hint
        )
    for name in ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"):
        if variables.first(name):
            raise variables.wrong(name, f"{name}: SSH passwords are not used", "use a key, or an SSH agent")


def _ssh(variables: Variables, folder: Path) -> SshOptions:
    args = _arguments(variables)
    key = variables.text("ansible_ssh_private_key_file", "ansible_private_key_file")
    port = variables.number("ansible_port", "ansible_ssh_port", low=1, high=65535)
    known = [*variables.texts("deploy_known_hosts"), *args.known_hosts]
    beside = folder / "known_hosts"
    files = [*(str(beside) for _ in [0] if beside.is_file()), *(_path(path, folder) for path in known)]
    return SshOptions(
        hostname=_address(variables),
        user=_user(variables) or args.user,
        port=port if port is not None else args.port,
        keys=tuple(_path(path, folder) for path in ([key] if key else []) + list(args.keys)),
        known_hosts=tuple(dict.fromkeys(files)),
        gateway=args.gateway,
        proxy_command=args.proxy_command,
        connect_timeout_s=args.connect_timeout or SshOptions.connect_timeout_s,
    )


def _address(variables: Variables) -> str:
    written = variables.text("ansible_host", "ansible_ssh_host")
    if written is None:
        why = why_unreachable(variables.host)
        if why:
            raise InventoryError(f"{variables.host} {why}", host=variables.host, hint="set ansible_host")
        return variables.host
    name = variables.first("ansible_host", "ansible_ssh_host") or ""
    try:
        address, port = host_and_port(written)
    except ValueError as problem:
        raise variables.wrong(name, f"{name}: {problem}") from None
    if port is not None:
        raise variables.wrong(name, f"{name}: {written!r} has a port", f"ansible_host: {address}, ansible_port: {port}")
    why = why_unreachable(address)
    if why:
        raise variables.wrong(name, f"{name}: {address} {why}")
    return address


def _user(variables: Variables) -> str | None:
    user = variables.text("ansible_user", "ansible_ssh_user")
    if user is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._\\@+-]*", user):
        raise variables.wrong(
            variables.first("ansible_user", "ansible_ssh_user") or "", f"{user!r} is not a valid user name"
        )
    return user


def _arguments(variables: Variables) -> SshArgs:
    text, last = "", None
    for name in _ARGS:
        part = variables.text(name)
        if part:
            text, last = f"{text} {part}", name
    try:
        return read_ssh_args(text)
    except ValueError as problem:
        raise variables.wrong(last or _ARGS[0], f"{last}: {problem}") from None


def _path(written: str, folder: Path) -> str:
    path = Path(written).expanduser()
    return str(path if path.is_absolute() else folder / path)


def _python(variables: Variables) -> str:
    python = variables.text("ansible_python_interpreter")
    if python is None or python.startswith("auto"):
        return "python3"
    if not re.fullmatch(r"[A-Za-z0-9_./+-]+", python) or python.startswith("-"):
        raise variables.wrong(
            "ansible_python_interpreter", f"{python!r} is not a valid path of an interpreter", "write /usr/bin/python3"
        )
    return python


def _prefix(variables: Variables) -> str:
    prefix = variables.text("deploy_prefix") or ""
    if prefix and not re.fullmatch(r"(/[A-Za-z0-9._@+-]+)+/?", prefix):
        raise variables.wrong("deploy_prefix", "deploy_prefix must be an absolute path of plain characters")
    return prefix.rstrip("/")


def _become(variables: Variables) -> bool | None:
    method = variables.text("ansible_become_method")
    if method is not None and method not in ("sudo", "ansible.builtin.sudo"):
        raise variables.wrong(
            "ansible_become_method", f"ansible_become_method {method} cannot be used", "only sudo can"
        )
    user = variables.text("ansible_become_user")
    if user is not None and user != "root":
        raise variables.wrong("ansible_become_user", f"ansible_become_user {user} cannot be used", "only root can")
    return variables.boolean("ansible_become")


def _password(variables: Variables) -> str | None:
    return variables.text(*_PASSWORDS)
