"""Rendering of every file that is written to a host: one search path, one set of quoting filters.

A template's own quoting rules are those of the file it makes, so each format has a filter here, and each filter refuses
what its format cannot say (a line break above all) rather than writing something that means another thing.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deployer.errors import SettingsError

if TYPE_CHECKING:
    import jinja2

_PACKAGE = Path(__file__).resolve().parent


def content(kind: Literal["roles", "templates", "examples"]) -> Path:
    """Return the folder of that kind which comes with the tool: inside an installed wheel, else beside the package."""
    installed = _PACKAGE / "_content" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def render(template: str, /, *, search: Sequence[Path] = (), **values: Any) -> str:
    """Return the text that `template` gives with `values`.

    Args:
        template: path below a template folder, such as `run.sh.j2`.
        search: the user's own template folders, looked through first.
        values: everything the template may use; a name it lacks is an error.

    Raises:
        SettingsError: there is no such template, it is wrong, or a value cannot be written in its format.
    """
    folders = tuple(str(folder) for folder in (*search, content("templates")))
    with _explained(template, folders):
        return _environment(folders).get_template(template).render(**values)


def render_text(text: str, /, *, where: str, **values: Any) -> str:
    """`text` itself as a template (a value in a role); `where` is the file it stands in. Raises as `render` does."""
    with _explained(where, ()):
        return _environment(()).from_string(text).render(**values)


@contextmanager
def _explained(template: str, folders: tuple[str, ...]) -> Iterator[None]:
    """Turn what Jinja and the filters raise into an error that names the template."""
    import jinja2

    try:
        yield
    except jinja2.TemplateNotFound as error:
        raise SettingsError(
            f"the template {error.name} was not found",
            file=template,
            cause="looked in " + ", ".join(folders),
            hint="write it there, or correct its name in the role",
        ) from error
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(
            "the template is not valid", file=error.filename or template, line=error.lineno, cause=error.message
        ) from error
    except jinja2.TemplateError as error:
        raise SettingsError("the template cannot be rendered", file=template, cause=str(error)) from error
    except ValueError as error:
        raise SettingsError("a value cannot be written into this file", file=template, cause=str(error)) from error


@functools.cache
def _environment(folders: tuple[str, ...]) -> jinja2.Environment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """A template comes from a commit: it may make text of its values, and nothing else."""

        def is_safe_callable(self, obj: Any) -> bool:
            return super().is_safe_callable(obj) and _makes_text(obj)

    environment = Sandbox(
        loader=jinja2.FileSystemLoader(folders),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # these are no web pages; each format has its own filter below
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    return environment


_DATA = (str, int, float, list, tuple, dict, set, frozenset)


def _makes_text(callable_: Any) -> bool:
    """Return whether a template may call this: a method of plain data, Jinja's own, and what the tool hands it.

    Jinja's sandbox leaves methods of other objects alone, such as those of a `Path`, which write files.
    """
    if isinstance(getattr(callable_, "__self__", None), _DATA):
        return True
    module = getattr(callable_, "__module__", None) or type(callable_).__module__
    return callable_ in (range, dict) or module.partition(".")[0] in ("jinja2", "deployer")


def oneline(value: object) -> str:
    """Return the value as text without line breaks and other control characters; ValueError if it has any."""
    text = str(value)
    for char in text:
        if (ord(char) < 32 and char != "\t") or char in "\x7f\x85\u2028\u2029":
            raise ValueError(f"{text!r} has a line break or a control character")
    return text


def python(value: object) -> str:
    """Return a value as a literal of Python."""
    return repr(value)


def sh(value: object) -> str:
    """Return one word of a POSIX shell command; ValueError for a NUL, which no shell can hold."""
    text = str(value)
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL character")
    return shlex.quote(text)


def sdvalue(value: object) -> str:
    """Return one word of a systemd setting that is split into words (`Environment=`, `ReadWritePaths=`):
    systemd.syntax(7)."""
    text = oneline(value).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


def sdexec(value: object) -> str:
    """Return one word of a systemd command line (`ExecStart=`), where `$` would start a variable."""
    return sdvalue(value).replace("$", "$$")


def sdpath(value: object) -> str:
    """Return the absolute path of a systemd setting that knows no quotes and takes its whole line
    (`WorkingDirectory=`)."""
    text = oneline(value)
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not an absolute path")
    if text.endswith("\\") or text != text.strip():
        raise ValueError(f"{text!r} ends in a backslash or a space, which systemd does not keep")
    return text.replace("%", "%%")


def supervisord(value: object) -> str:
    """Return a value of a supervisord setting. ` ;` and ` #` would start a comment there and cannot be quoted."""
    text = oneline(value)
    if any(mark in " " + text for mark in (" ;", " #", "\t;", "\t#")) or text != text.strip():
        raise ValueError(f"{text!r} has a comment mark after a space, or a space at an end, which supervisord drops")
    return text.replace("%", "%%")


def haproxy(value: object) -> str:
    """Return one word of an HAProxy configuration in strong quotes, in which nothing is special but the quote
    itself."""
    text = oneline(value)
    return "'" + text.replace("'", "'\\''") + "'"


def dockerfile(value: object) -> str:
    """Return a value of ENV in a Dockerfile, in double quotes, where backslashes, quotes and `$` would mean
    something."""
    text = oneline(value)
    for special in ("\\", '"', "$"):
        text = text.replace(special, "\\" + special)
    return f'"{text}"'


def dockerpath(value: object) -> str:
    """Return a path in the exec form of COPY; ValueError for one that a builder would take for a pattern or a
    variable."""
    text = oneline(value)
    if any(mark in text for mark in '*?[]$\\"'):
        raise ValueError(f"{text!r} has a character that a Dockerfile takes for a pattern or a variable")
    return f'"{text}"'


_FILTERS: dict[str, Callable[[object], str]] = {
    "oneline": oneline,
    "python": python,
    "sh": sh,
    "sdvalue": sdvalue,
    "sdexec": sdexec,
    "sdpath": sdpath,
    "supervisord": supervisord,
    "haproxy": haproxy,
    "dockerfile": dockerfile,
    "dockerpath": dockerpath,
}
