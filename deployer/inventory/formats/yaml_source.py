"""Ansible's YAML inventories (and JSON ones of the same shape): groups, children, hosts, vars.

The format is that of Ansible's `yaml` inventory plugin; a bare list or a single name means hosts or children.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.errors import InventoryError
from deployer.inventory.formats.raw import ALL, RawInventory, Value, Values
from deployer.inventory.names import expanded_hosts
from deployer.settings.validation_errors import nearest
from deployer.settings.yaml.document import Document, KeyPath, Opaque, read_document

_SECTIONS = ("hosts", "children", "vars")


def read_yaml(path: Path, shown: str, raw: RawInventory) -> None:
    """Add a YAML or JSON file to `raw`. Raises: InventoryError with file and line."""
    read_groups(read_document(path, shown, InventoryError, ansible=True), raw)


def read_groups(document: Document, raw: RawInventory) -> None:
    """Add the groups of a document to `raw`; also what `ansible-inventory --list` and inventory scripts print."""
    _Reader(document, raw).read()


class _Reader:
    def __init__(self, document: Document, raw: RawInventory) -> None:
        self.document = document
        self.raw = raw

    def read(self) -> None:
        data = self.document.data
        if data is None:
            raise self._wrong((), "is empty", "begin with: web: {hosts: {web1.example.com: {}}}")
        if not isinstance(data, dict):
            raise self._wrong((), "is not a map of groups", "begin with: web: {hosts: {web1.example.com: {}}}")
        if "plugin" in data and not isinstance(data["plugin"], dict):
            raise self._wrong(
                ("plugin",),
                "configures an inventory plugin of Ansible, which deploy does not read",
                "write its hosts to a file: ansible-inventory -i FILE --list --yaml",
            )
        for name in data:
            if name != "_meta":
                self._group(name, data[name], (name,))
        self._meta(data.get("_meta"))

    def _meta(self, data: Any) -> None:
        """`{"hostvars": {HOST: {…}}}`, as scripts give it."""
        hostvars = data.get("hostvars") if isinstance(data, dict) else None
        for name, variables in hostvars.items() if isinstance(hostvars, dict) else ():
            path = ("_meta", "hostvars", name)
            self.raw.hosts.setdefault(name, {}).update(self._variables(variables, path, f"variables of {name}"))

    def _group(self, name: str, data: Any, path: KeyPath) -> None:
        self._check_name(name, path)
        self.raw.group(name)
        if isinstance(data, list | str):
            data, prefix = {"hosts": data}, path
        elif data is None:
            return
        elif isinstance(data, dict):
            prefix = ()
        else:
            raise self._wrong(path, f"the group {name} must be a map with {', '.join(_SECTIONS)}")
        for section, content in data.items():
            below = prefix or (*path, section)
            if section == "vars":
                self.raw.group(name).variables.update(self._variables(content, below, f"vars of {name}"))
            elif section == "children":
                self._children(name, content, below)
            elif section == "hosts":
                self._hosts(name, content, below)
            else:
                raise self._unknown(name, section, below)

    def _children(self, group: str, content: Any, path: KeyPath) -> None:
        for name, data, below in self._named(content, path, f"children of {group}"):
            self._check_name(name, below)
            if group != ALL or name != ALL:
                self.raw.add_child(group, name, self.document.mark(*below))
            self._group(name, data, below)

    def _hosts(self, group: str, content: Any, path: KeyPath) -> None:
        for written, data, below in self._named(content, path, f"hosts of {group}"):
            try:
                names = expanded_hosts(written)
            except ValueError as problem:
                raise self._wrong(below, str(problem)) from None
            variables = self._variables(data, below, f"variables of {written}")
            for name, port in names:
                own = dict(variables)
                if port is not None:
                    own.setdefault("ansible_port", Value(port, self.document.mark(*below)))
                self.raw.add_host(group, name, own)

    def _named(self, content: Any, path: KeyPath, what: str) -> list[tuple[str, Any, KeyPath]]:
        """(name, data, place) of a section that may be a map, a list of names or one name."""
        if content is None:
            return []
        if isinstance(content, str):
            return [(content, None, path)]
        if isinstance(content, dict):
            return [(name, data, (*path, name)) for name, data in content.items()]
        if isinstance(content, list):
            for index, name in enumerate(content):
                if not isinstance(name, str):
                    raise self._wrong((*path, index), f"the {what} must be names", "quote names that look like numbers")
            return [(name, None, (*path, index)) for index, name in enumerate(content)]
        raise self._wrong(path, f"the {what} must be a map or a list of names")

    def _variables(self, content: Any, path: KeyPath, what: str) -> Values:
        if content is None:
            return {}
        if not isinstance(content, dict):
            where = (
                "is encrypted as a whole, which only Ansible can read"
                if isinstance(content, Opaque)
                else "must be a map"
            )
            raise self._wrong(path, f"the {what} {where}", "write them as NAME: VALUE")
        return {name: Value(value, self.document.mark(*path, name)) for name, value in content.items()}

    def _check_name(self, name: str, path: KeyPath) -> None:
        if not name or any(char.isspace() or char in ",:&![]" for char in name):
            raise self._wrong(path, f"{name!r} is not a valid group name", "letters, digits and _")

    def _unknown(self, group: str, section: str, path: KeyPath) -> InventoryError:
        near = nearest(section, _SECTIONS)
        hint = f"did you mean {near}?" if near else f"if it is a host: {group}: {{hosts: {{{section}: {{}}}}}}"
        return self._wrong(path, f"the group {group} has no section {section}; there are {', '.join(_SECTIONS)}", hint)

    def _wrong(self, path: KeyPath, message: str, hint: str | None = None) -> InventoryError:
        mark = self.document.mark(*path)
        return InventoryError(message, file=mark.file, line=mark.line, hint=hint)
