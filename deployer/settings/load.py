"""Finds `deploy.yaml`, lays the environment's overlay over it, and checks the whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deployer.errors import SettingsError, UsageError
from deployer.settings.models import Settings
from deployer.settings.overlay import merge, without_nulls
from deployer.settings.validation_errors import settings_error
from deployer.settings.yaml.document import Document, Mark, read_document

FILE = "deploy.yaml"
_ENV = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
NO_ENVIRONMENT = "no_environment"
"""The code of the error for a command line that names no environment."""


@dataclass(frozen=True)
class Loaded:
    """Settings of one environment and where they came from.

    `path` is deploy.yaml, `base` its folder: relative paths in the settings start there. `sources` are the files that
    were read, the overlay last. `document` knows where every key is written.
    """

    settings: Settings
    env: str
    path: Path
    base: Path
    sources: tuple[Path, ...]
    document: Document

    @property
    def folder(self) -> Path:
        """Where the app's code lies: `source.path` with `source.subdir`."""
        return self.base / self.settings.source.path / self.settings.source.subdir

    def mark(self, *path: str | int) -> Mark:
        """Return the file and line of a key (`mark("health", "path")`), or of the nearest one above it."""
        return self.document.mark(*path)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """A SettingsError from within that begins with a written key (`runtime.args has`) gets its file and line."""
        try:
            yield
        except SettingsError as error:
            self.place(error)
            raise

    def place(self, error: SettingsError) -> None:
        """Give an error without a file that of the key with which its message begins, where that is written."""
        keys = tuple(error.message.partition(" ")[0].rstrip(":,").split("."))
        mark = self.document.marks.get(keys)
        if error.file is None and mark is not None:
            error.file, error.line = mark.file, mark.line


def load(
    config: Path | None = None,
    env: str | None = None,
    start: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Return the settings of one environment.

    Args:
        config: the file (`-c`); None: `deploy.yaml` in `start` or the nearest folder above it.
        env: the environment; None: `DEPLOY_ENV`, else `default_env`.
        start: where the search begins, by default the current folder.
        environ: where `DEPLOY_ENV` is looked up, by default this process's environment.

    Raises: SettingsError, which names file and line and reports everything that is wrong at once; UsageError when no
    environment is named anywhere.
    """
    path = find(config, start)
    base = _read(path)
    name = _environment(env, base, environ)
    over = path.with_name(f"{path.stem}.{name}{path.suffix}")
    document = base
    sources: tuple[Path, ...] = (path,)
    if over.is_file():
        document, sources = merge(base, _read(over)), (path, over)
    document = Document(document.file, without_nulls(document.data), document.marks)
    try:
        settings = Settings.model_validate(document.data)
    except ValidationError as problem:
        raise settings_error(problem, Settings, document) from None
    return Loaded(settings, name, path, path.parent, sources, document)


def find(config: Path | None = None, start: Path | None = None) -> Path:
    """Return the absolute path of `deploy.yaml`; SettingsError when there is none."""
    if config is not None:
        if not config.is_file():
            raise SettingsError("there is no such file", file=str(config))
        return config.absolute()
    folder = (start or Path.cwd()).absolute()
    for above in (folder, *folder.parents):
        if (above / FILE).is_file():
            return above / FILE
    raise SettingsError(
        f"{FILE} was not found in {folder} nor in a folder above it",
        hint="deploy init writes one for the app in this folder",
    )


def _read(path: Path) -> Document:
    """Return one file as a map; an empty one has no keys."""
    document = read_document(path, shown(path), SettingsError)
    if document.data is None:
        return Document(document.file, {}, {(): Mark(document.file, 1)})
    if not isinstance(document.data, dict):
        raise SettingsError(
            f"{document.file} is not a map of keys and values", file=document.file, line=1, hint="begin with app: NAME"
        )
    return document


def shown(path: Path) -> str:
    """`path` as errors name it: relative to the current folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _environment(named: str | None, base: Document, environ: Mapping[str, str] | None) -> str:
    lookup = os.environ if environ is None else environ
    name = named or lookup.get("DEPLOY_ENV") or base.data.get("default_env")
    if not name:
        raise UsageError(
            "no environment was given",
            hint="name one, such as deploy {command} prod; or set DEPLOY_ENV, or add default_env: to deploy.yaml",
            code=NO_ENVIRONMENT,
        )
    if not isinstance(name, str) or not _ENV.fullmatch(name):
        raise UsageError(f"{name!r} is not a valid environment name", hint="letters, digits, - and _, such as prod")
    return name
