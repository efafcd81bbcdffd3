"""How `--help` looks: commands and options in groups, words in place of Python types, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from deployer.cli.options import ON_HOSTS, with_common

PANELS = ("Start", "Ship", "Look", "Operate", "Lab")
"""The groups of commands, in the order of a first week: begin, roll out, see, intervene, try out."""

CONTEXT_SETTINGS = {"max_content_width": 10_000}
"""Lines may be as long as the terminal is wide; Typer stops at 80 columns by itself."""

_NO_LIMIT = 10_000  # characters; summaries are wrapped, never cut off
_OPTIONS = "Options"
_WIDE = 100  # columns; from here on the first column of a list may be wider


class HelpCommand(TyperCommand):
    """A command whose help names its values by words, and lists shared options apart from its own."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return `[OPTIONS]` and the command's arguments, those that may be left out in brackets."""
        return ["[OPTIONS]", *(_argument_name(parameter) for parameter in _arguments(self.get_params(ctx)))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and one list of options per group."""
        _write_parameters(self.get_params(ctx), ctx, formatter)


class HelpGroup(TyperGroup):
    """A group whose help lists its commands by what they are for, each with its whole summary."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands first, then the options of the group itself."""
        self.format_commands(ctx, formatter)
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list of commands per panel, in the order of `PANELS`."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                summary = command.get_short_help_str(limit=_NO_LIMIT)
                panels.setdefault(command.rich_help_panel or "Commands", []).append((name, summary))
        longest = max(len(name) for rows in panels.values() for name, _ in rows)
        for panel, rows in panels.items():
            _write_list(formatter, panel, [(name.ljust(longest), summary) for name, summary in rows])


def add_command(
    app: typer.Typer,
    function: Callable[..., Any],
    *,
    panel: str | None = None,
    name: str | None = None,
    cls: type[HelpCommand] = HelpCommand,
    shared: Iterable[str] = ON_HOSTS,
) -> None:
    """Add a command to the application.

    Args:
        app: the application or the group of commands.
        function: the command; its last parameter is `common`.
        panel: the group that `deploy --help` lists it in, one of `PANELS`.
        name: the command's name where it is not the function's.
        cls: what parses the command line.
        shared: the shared options that have an effect on this command, by parameter name.
    """
    decorate = app.command(name, cls=cls, rich_help_panel=panel)
    decorate(with_common(function, frozenset(shared)))


def _arguments(parameters: Iterable[Any]) -> list[Any]:
    return [parameter for parameter in parameters if parameter.param_type_name == "argument"]


def _argument_name(parameter: Any) -> str:
    word = str(parameter.metavar or parameter.name.upper())
    return word if parameter.required else f"[{word}]"


def _write_parameters(parameters: list[Any], ctx: Any, formatter: Any) -> None:
    arguments: list[tuple[str, str]] = []
    panels: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            arguments.append((_argument_name(parameter), record[1].removesuffix("[required]").rstrip()))
        else:
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or _OPTIONS, []).append(record)
    _write_list(formatter, "Arguments", arguments)
    for panel, rows in panels.items():
        _write_list(formatter, panel, rows)


def _write_list(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows, col_max=44 if formatter.width >= _WIDE else 30)
