"""The app's secrets on a host: one file that only its user can read, and that sh reads.

    export DATABASE_URL='postgres://…'

The controller renders the text (`deployer.artifact.secretfile`); a `'` in a value is written `'\\''`.
"""

from __future__ import annotations

import hmac
import os
import re
import stat

from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages import secrets as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import app_environment
from deployer.agent.system import files, tree

_PASSAGE = 0o711
_LINE = re.compile(r"export ([A-Za-z_][A-Za-z0-9_]*)='((?:[^']|'\\'')*)'\n")


@operation(wire.WRITE)
def write(ctx: Context, request: wire.WriteSecrets) -> wire.Changed:
    """Makes the secrets file say what the body says; untouched when it does already, or both are nothing.

    With `keep` what it said before stays beside it, until `secrets.settle` or `secrets.restore`: those that what serves
    was started with. A run that goes on after a dead one keeps what that one had kept.

    Raises:
        OpError: `not_set_up`, `invalid` (the text is not what the renderer writes).
    """
    site = Site.of(request)
    text = ctx.read_body(1 << 20)
    parse(text.decode("utf-8", "surrogateescape"))
    if not os.path.isdir(site.root):
        raise OpError("not_set_up", f"{site.root} does not exist", f"type deploy setup {site.env}")
    owner = app_environment.owner(site)
    if _text_as_written(site.secrets, owner) == text or not (text or os.path.lexists(site.secrets)):
        return {"changed": False}
    prepare_state(site)
    if request.get("keep"):
        _keep(site, owner)
    files.write(site.secrets, text, 0o600, owner)
    return {"changed": True}


@operation(wire.DIGEST)
def digest(ctx: Context, request: OnSite) -> wire.SecretsDigest:
    """Says what the secrets are without showing them: a controller that has the same text gets the same digest."""
    site, key = Site.of(request), os.urandom(32).hex()
    text = _text_as_written(site.secrets, app_environment.owner(site)) if os.path.lexists(site.secrets) else b""
    return {"key": key, "digest": None if text is None else hmac.new(key.encode(), text, "sha256").hexdigest()}


@operation(wire.RESTORE)
def restore(ctx: Context, request: OnSite) -> wire.Changed:
    """Makes the secrets what they were before a run wrote others; nothing where none did."""
    return {"changed": put_back(Site.of(request))}


@operation(wire.SETTLE)
def settle(ctx: Context, request: OnSite) -> wire.Changed:
    """Forgets what the secrets were before: what serves has proven itself with the present ones."""
    return {"changed": tree.remove(Site.of(request).secrets_before)}


def put_back(site: Site) -> bool:
    """What `secrets.restore` does: False where there is nothing to go back to. Whoever goes back calls it first."""
    try:
        nothing = os.stat(site.secrets_before).st_size == 0
    except FileNotFoundError:
        return False
    if nothing:
        tree.remove(site.secrets)
        tree.remove(site.secrets_before)
    else:
        os.replace(site.secrets_before, site.secrets)  # with its time, by which a reload sees that nothing changed
    return True


def _keep(site: Site, owner: tuple[int, int]) -> None:
    """A second name for the file of now, which is replaced and not written to."""
    if os.path.lexists(site.secrets_before):
        return
    if os.path.lexists(site.secrets):
        os.link(site.secrets, site.secrets_before, follow_symlinks=False)
    else:
        files.write(site.secrets_before, b"", 0o600, owner)


def prepare_state(site: Site) -> None:
    """Makes `.deploy`: others may pass through it to what is theirs, and see nothing else."""
    os.makedirs(site.state, _PASSAGE, exist_ok=True)
    os.chmod(site.state, _PASSAGE)


def values(site: Site) -> dict[str, str]:
    """The secrets of a site by name; empty when there are none or they cannot be read."""
    try:
        with open(site.secrets, "rb") as file:
            return parse(file.read().decode("utf-8", "surrogateescape"))
    except (OSError, OpError):
        return {}


def redactor(site: Site) -> app_environment.Redactor:
    """What takes this site's secrets out of lines that others will see."""
    return app_environment.Redactor(values(site).values())


def parse(text: str) -> dict[str, str]:
    """The names and values in the file's text. OpError `invalid` for anything but `export NAME='value'` lines."""
    variables: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LINE.match(text, position)
        if match is None or "\0" in match.group(2):
            raise OpError("invalid", "line %d of the secrets is malformed" % (text.count("\n", 0, position) + 1))
        variables[match.group(1)] = match.group(2).replace("'\\''", "'")
        position = match.end()
    return variables


def _text_as_written(path: str, owner: tuple[int, int]) -> bytes | None:
    """The file's text; None where it cannot be read, or has another owner or mode than `write` gives it."""
    try:
        status = os.lstat(path)
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        return None
    return text if stat.S_IMODE(status.st_mode) == 0o600 and (status.st_uid, status.st_gid) == owner else None
