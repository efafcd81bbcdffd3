"""What this tool wrote on a host, remembered so that nothing else is ever overwritten or removed.

`created.json` in the host's own state: `{"v": 1, "paths": {path: [digest, …]}, "pending": {handler: [argv, …]}}`.
A path has two digests only while it is being changed: a crash leaves one content or the other, and both are ours.
`pending` are handlers whose notifiers were changed and which have not run well since.
"""

from __future__ import annotations

import hashlib
import json
import os

from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError
from deployer.agent.system import files

DIRECTORY = "directory"
Commands = list[list[str]]


def digest(data: bytes) -> str:
    """The sha256 of a file's content, in hex."""
    return hashlib.sha256(data).hexdigest()


def link_digest(target: str) -> str:
    """What stands for a symbolic link to `target`."""
    return "link:" + target


class ManagedFiles:
    """The record of one host. Read when made; written by `save` only."""

    def __init__(self, site: Site) -> None:
        self._folder = site.host_state
        self._path = site.host_state + "/created.json"
        self.paths: dict[str, list[str]] = {}
        self.pending: dict[str, Commands] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                data = json.load(file)
            self.paths, self.pending = dict(data["paths"]), dict(data["pending"])
        except FileNotFoundError:
            pass
        except PermissionError as error:
            message = f"{self._path} can be read by root only, as it holds digests of sensitive files"
            raise OpError("failed", message, "connect as root, or allow sudo") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OpError(
                "failed",
                f"{self._path}, the record of what deploy wrote on this host, cannot be read: {error}",
                "restore it, or move it away; then deploy setup {env} --replace takes over what it shows",
            ) from error

    def owns(self, path: str, current_digest: str) -> bool:
        """Whether what is at `path` now, by its digest, is what we left there."""
        return current_digest in self.paths.get(path, [])

    def known(self, path: str) -> bool:
        """Whether we ever wrote something at `path`."""
        return path in self.paths

    def intend(self, path: str, new: str) -> None:
        """From now on what was there and `new` are both ours."""
        self.paths[path] = [known_digest for known_digest in self.paths.get(path, []) if known_digest != new] + [new]

    def settle(self, path: str, new: str) -> None:
        """Only `new` is ours; an empty `new`: there is nothing of ours there any more."""
        if new:
            self.paths[path] = [new]
        else:
            self.paths.pop(path, None)

    def save(self) -> None:
        """Writes the record; on return it is on the disk."""
        os.makedirs(self._folder, 0o755, exist_ok=True)
        data = {"v": 1, "paths": self.paths, "pending": self.pending}
        files.write(self._path, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode("utf-8"), 0o600)
