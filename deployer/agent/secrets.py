"""The app's secrets on a host: one file that only its user can read, and that sh reads.

    export DATABASE_URL='postgres://…'

The controller renders the text (`deployer.artifact.secretfile`); a `'` in a value is written `'\\''`.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any, Dict

from deployer.agent import app_command, tree
from deployer.agent.layout import Site
from deployer.agent.operation import Context, OpError, operation

_PASSAGE = 0o711
_LINE = re.compile(r"export ([A-Za-z_][A-Za-z0-9_]*)='((?:[^']|'\\'')*)'\n")


@operation("secrets.write")
def write(ctx: Context, args: Dict[str, Any]) -> Dict[str, Any]:
    """Makes the secrets file say what the body says; untouched when it does already, or both are nothing.

    Raises:
        OpError `not_set_up`: the site's root is missing. `invalid`: the text is not what the renderer writes.
    """
    site = Site.from_args(args)
    text = ctx.read_body(1 << 20)
    parse(text.decode("utf-8", "surrogateescape"))
    if not os.path.isdir(site.root):
        raise OpError("not_set_up", "%s does not exist" % site.root, "type deploy setup %s" % site.env)
    owner = app_command.owner(site)
    if _is_so(site.secrets, text, owner) or not (text or os.path.lexists(site.secrets)):
        return {"changed": False}
    if not args.get("dry_run"):
        prepare_state(site)
        tree.write(site.secrets, text, 0o600, owner)
    return {"changed": True}


def prepare_state(site: Site) -> None:
    """Makes `.deploy`: others may pass through it to what is theirs, and see nothing else."""
    os.makedirs(site.state, _PASSAGE, exist_ok=True)
    os.chmod(site.state, _PASSAGE)


def values(site: Site) -> Dict[str, str]:
    """The secrets of a site by name; empty when there are none or they cannot be read."""
    try:
        with open(site.secrets, "rb") as file:
            return parse(file.read().decode("utf-8", "surrogateescape"))
    except (OSError, OpError):
        return {}


def redactor(site: Site) -> app_command.Redactor:
    """What takes this site's secrets out of lines that others will see."""
    return app_command.Redactor(values(site).values())


def parse(text: str) -> Dict[str, str]:
    """The names and values in the file's text. OpError `invalid` for anything but `export NAME='value'` lines."""
    found: Dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LINE.match(text, position)
        if match is None or "\0" in match.group(2):
            raise OpError("invalid", "line %d of the secrets is malformed" % (text.count("\n", 0, position) + 1))
        found[match.group(1)] = match.group(2).replace("'\\''", "'")
        position = match.end()
    return found


def _is_so(path: str, text: bytes, owner: "tuple[int, int]") -> bool:
    try:
        status = os.lstat(path)
        with open(path, "rb") as file:
            same = file.read() == text
    except OSError:
        return False
    return same and stat.S_IMODE(status.st_mode) == 0o600 and (status.st_uid, status.st_gid) == owner
