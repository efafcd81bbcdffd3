"""How shell text that a user wrote is run: on a host by the agent, and on the controller."""

from __future__ import annotations

import posixpath

_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh")
# The text lies in a private file while its interpreter runs, since most of them take a program only as a file.
_RUN_AS_FILE = (
    "file=$(mktemp) || exit 126; trap 'rm -f \"$file\"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; "
    'printf "%s\\n" "$1" > "$file" || exit 126; shift; "$@" "$file"'
)


def shell_argv(text: str) -> list[str]:
    """The words that run `text`.

    Text of more than one line stops at the first command that fails, also where its first line names a shell; `set +e`
    in it changes that. A single line runs as in `sh -c`, where its status is that of its last command. Text whose first
    line is `#!INTERPRETER` with another program is run by that one, as an executable file would be.
    """
    interpreter = _interpreter(text)
    if not interpreter:
        return ["/bin/sh", "-ec" if is_script(text) else "-c", text]
    program = next((word for word in _without_env(interpreter) if word[:1] != "-" and "=" not in word), "")
    if posixpath.basename(program) in _SHELLS:
        return [*interpreter, "-ec", text]
    return ["/bin/sh", "-c", _RUN_AS_FILE, "sh", text.lstrip(), *interpreter]


def is_script(text: str) -> bool:
    """Whether `text` has more than one line, blank lines at its ends aside."""
    return "\n" in text.strip()


def first_line(text: str) -> str:
    """The first line of `text` that is neither blank nor a `#!` line, with `…` behind it where more lines follow."""
    text = text.strip()
    if _interpreter(text) and is_script(text):
        text = text.partition("\n")[2].strip()
    line, _, rest = text.partition("\n")
    return line.rstrip() + (" …" if rest.strip() else "")


def _interpreter(text: str) -> list[str]:
    """The words behind `#!` in the first line; empty where there is no such line."""
    line = text.lstrip().partition("\n")[0]
    return line[2:].split() if line.startswith("#!") else []


def _without_env(interpreter: list[str]) -> list[str]:
    """The words behind `/usr/bin/env`, where that starts the interpreter."""
    return interpreter[1:] if posixpath.basename(interpreter[0]) == "env" else interpreter
