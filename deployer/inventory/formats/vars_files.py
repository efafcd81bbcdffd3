"""`group_vars/` and `host_vars/` beside an inventory, found as Ansible finds them."""

from __future__ import annotations

from pathlib import Path

from deployer.errors import InventoryError
from deployer.inventory.formats.raw import Value, Values
from deployer.settings.load import shown
from deployer.settings.yaml.document import read_document

_ENDINGS = ("", ".yml", ".yaml", ".json")
_VAULT = b"$ANSIBLE_VAULT"


def read_vars(folder: Path, kind: str, name: str) -> Values:
    """Return variables of the group or host `name` in `folder/kind` (`group_vars`, `host_vars`).

    The first of `name`, `name.yml`, `name.yaml`, `name.json` that exists counts; a folder's files are read in the order
    of their names. A file that is encrypted as a whole is left out. Raises: InventoryError with file and line.
    """
    variables: Values = {}
    for path in _files(folder / kind, name):
        variables.update(_read(path))
    return variables


def _files(folder: Path, name: str) -> list[Path]:
    for ending in _ENDINGS:
        path = folder / (name + ending)
        if path.is_dir() and not ending:
            return sorted(inner for inner in path.rglob("*") if inner.is_file() and _counts(inner.relative_to(path)))
        if path.is_file():
            return [path]
    return []


def _counts(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and not path.name.endswith("~") and path.suffix in _ENDINGS


def _read(path: Path) -> Values:
    with path.open("rb") as file:
        if file.read(len(_VAULT)) == _VAULT:
            return {}
    document = read_document(path, shown(path), InventoryError, ansible=True)
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise InventoryError(f"{document.file} is not a map of variables", file=document.file, line=1)
    return {name: Value(value, document.mark(name)) for name, value in document.data.items()}
