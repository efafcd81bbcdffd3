"""Settings that the contract names and this version does not carry out yet: said at once, never silently ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from deployer.errors import SettingsError
from deployer.settings.load import Loaded
from deployer.settings.models import Settings


class Later(NamedTuple):
    """A key, whether these settings use it in a way that is not there yet, and what to do meanwhile."""

    key: tuple[str, ...]
    used: Callable[[Settings], bool]
    hint: str


LATER = (Later(("schedules",), lambda s: bool(s.schedules), "run them beside the app as you do today"),)


def refuse_what_is_not_there_yet(loaded: Loaded) -> None:
    """SettingsError with file and line for the first such key that is used."""
    for later in LATER:
        if later.used(loaded.settings):
            mark = loaded.mark(*later.key)
            name = ".".join(later.key)
            raise SettingsError(
                f"{name} is not carried out by this version yet",
                file=mark.file,
                line=mark.line,
                hint=later.hint,
                code="not_yet",
            )
