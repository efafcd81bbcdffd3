"""Messages of the secrets of an app (`agent.site.secrets`)."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.typed import NotRequired, Operation, TypedDict


class WriteSecrets(OnSite):
    """The body is the text of the file. `keep`: what it said before stays beside it."""

    keep: NotRequired[bool]


class Changed(TypedDict):
    """Whether anything was changed."""

    changed: bool


class SecretsDigest(TypedDict):
    """`digest`: HMAC-SHA256 of the file's text in hexadecimal, of no text where there is no file.

    The digest is null where the file has another owner or mode than `secrets.write` gives it. `key`: the text whose
    bytes are the HMAC's key. It is new each time, so that two answers tell nothing about each other.
    """

    key: str
    digest: str | None


DIGEST = Operation("secrets.digest", OnSite, SecretsDigest)
WRITE = Operation("secrets.write", WriteSecrets, Changed)
RESTORE = Operation("secrets.restore", OnSite, Changed)
SETTLE = Operation("secrets.settle", OnSite, Changed)
