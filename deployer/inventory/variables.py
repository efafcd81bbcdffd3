"""A host's merged variables, read with checks: what is used here must be plain, the rest is carried as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.errors import InventoryError
from deployer.inventory.formats.raw import Value
from deployer.settings.yaml.document import Opaque

_TRUE = {"true", "yes", "on", "y", "1", "t"}
_FALSE = {"false", "no", "off", "n", "0", "f"}


def unreadable(value: Any) -> str | None:
    """Return why `value`, or something inside it, cannot be used here: vault or Jinja; None if it is plain."""
    if isinstance(value, Opaque):
        return "is encrypted or tagged for Ansible" if value.tag == "!vault" else f"has the tag {value.tag} of Ansible"
    if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")):
        return "is a Jinja expression"
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return next((why for item in inner if (why := unreadable(item))), None)
    return None


class Variables:
    """The variables of one host. Every method raises InventoryError naming host, file and line."""

    def __init__(self, host: str, values: Mapping[str, Value]) -> None:
        self.host = host
        self._values = values

    def plain(self) -> dict[str, Any]:
        """Return all values, opaque ones included."""
        return {name: variable.value for name, variable in self._values.items()}

    def first(self, *names: str) -> str | None:
        """Return the first of these names that is set, or None. Older names of a variable come last."""
        return next((name for name in names if name in self._values and self._values[name].value is not None), None)

    def text(self, *names: str) -> str | None:
        """Return the variable as one line of text; None if it is not set."""
        name = self.first(*names)
        if name is None:
            return None
        value = self._usable(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.wrong(name, f"{name} must be text")
        text = str(value)
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise self.wrong(name, f"{name} must be one line without control characters")
        return text

    def number(self, *names: str, low: int, high: int) -> int | None:
        """Return the variable as a whole number in that range; None if it is not set."""
        name = self.first(*names)
        if name is None:
            return None
        value = self._usable(name)
        text = str(value).strip()
        if isinstance(value, bool) or not text.isdecimal() or not low <= int(text) <= high:
            raise self.wrong(name, f"{name} must be a whole number from {low} to {high}")
        return int(text)

    def boolean(self, *names: str) -> bool | None:
        """Return the variable as a boolean, by Ansible's words (yes, no, on, off …); None if it is not set."""
        name = self.first(*names)
        if name is None:
            return None
        word = str(self._usable(name)).strip().lower()
        if word not in _TRUE | _FALSE:
            raise self.wrong(name, f"{name} must be true or false")
        return word in _TRUE

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the variable as a list of texts; one text is a list of one."""
        if self.first(name) is None:
            return ()
        value = self._usable(name)
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) and text for text in values):
            raise self.wrong(name, f"{name} must be a path or a list of paths")
        return tuple(values)

    def wrong(self, name: str, message: str, hint: str | None = None) -> InventoryError:
        """Return an error at the place where the variable `name` is written."""
        mark = self._values[name].mark
        return InventoryError(message, host=self.host, file=mark.file, line=mark.line, hint=hint)

    def _usable(self, name: str) -> Any:
        value = self._values[name].value
        why = unreadable(value)
        if why:
            raise self.wrong(name, f"{name} {why}, and is needed here", "write its plain value, or give it another way")
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)
