"""Runs on the host, in the release, with the release's own Python: can the app be loaded? Standard library only."""

import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

_NOT_THE_APPS = ("<string>", "<frozen importlib", importlib.__file__)


def fail(text: str) -> None:
    """Print the cause on stderr and exit, without waiting for threads that the app may have started."""
    sys.stdout.flush()
    sys.stderr.write(text.rstrip() + "\n")
    sys.stderr.flush()
    os._exit(1)


def format_error(error: BaseException) -> str:
    """Return the traceback without our own frames and those of the import machinery."""
    shown = traceback.TracebackException.from_exception(error)
    _trim(shown)
    return "".join(shown.format())


def _trim(shown: traceback.TracebackException) -> None:
    shown.stack[:] = [frame for frame in shown.stack if not frame.filename.startswith(_NOT_THE_APPS)]
    for other in (shown.__cause__, shown.__context__):
        if other is not None:
            _trim(other)


def need_server(module: str) -> None:
    """The server's module must be there."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        fail(f"the virtualenv lacks {module}: {error}\nadd it to the app's requirements, or to python.with")


def load(target: str, factory: bool) -> None:
    """Import `module:attribute` as the server will."""
    name, _, attributes = target.partition(":")
    target_object: Any = importlib.import_module(name)
    for attribute in (attributes or "application").split("."):
        if not hasattr(target_object, attribute):
            public = sorted(
                key for key, value in vars(target_object).items() if callable(value) and not key.startswith("_")
            )
            fail(f"{name} has no attribute {attribute!r}; it has {', '.join(public[:12]) or 'nothing callable'}")
        target_object = getattr(target_object, attribute)
    if factory:
        target_object = target_object()
    if not callable(target_object):
        fail(f"{target} is not a valid app: {type(target_object).__name__!r} cannot be called")


def read_options(module: str, words: "list[str]") -> None:
    """Let the server's own command line reader judge the options."""
    import click

    try:
        importlib.import_module(module + ".main").main.make_context(module, words)
    except click.ClickException as error:
        fail(f"{module} does not accept its options: {error.format_message()}")


def main() -> None:
    """Carry out the order in the last argument."""
    # When its time is up, this is told by TERM: what it was doing is the best of its last lines.
    faulthandler.register(signal.SIGTERM, chain=True)
    order = json.loads(sys.argv[-1])
    working_folder = os.getcwd()
    sys.argv[1:] = []
    sys.path[:] = (
        [working_folder] + [os.path.join(working_folder, folder) for folder in order["pythonpath"]] + sys.path[1:]
    )
    if order["module"]:
        need_server(order["module"])
    try:
        load(order["target"], order["factory"])
    except BaseException as error:
        fail(format_error(error))
    if order["click"]:
        read_options(order["module"], order["click"])
    sys.stdout.flush()
    if order["then"]:
        os.execv(sys.executable, [sys.executable, "-m", order["module"]] + order["then"])  # noqa: S606
    os._exit(0)


if __name__ == "__main__":
    main()
