"""Programs of a supervisord that somebody else configured: which one a process is of, and how it is stopped for good.

supervisord has no `disable`: a program is left out once its file has another name, and `update NAME` makes known that
of this program alone.
"""

from __future__ import annotations

import configparser
import contextlib
import glob
import os
import re
from dataclasses import asdict, dataclass
from typing import Any

from deployer.agent.system import process_runner, procfs

RETIRED = ".retired"
_USUAL = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf")
_SHORT = 15.0  # seconds for a question
_STOP = 120.0  # seconds for a stop; supervisord kills what has not stopped after its own `stopwaitsecs`
_RUNS = re.compile(r"^(\S+)\s+RUNNING\s+pid (\d+),", re.MULTILINE)
_UP = re.compile(r"^(\S+)\s+(?:RUNNING|STARTING|BACKOFF|STOPPING)\b", re.MULTILINE)
_EVERY = re.compile(r"^(\S+)\s+[A-Z]+\b", re.MULTILINE)
_TOLD = (0, 3)  # how `supervisorctl status` ends where it told: 3 when any program does not run


@dataclass(frozen=True)
class Program:
    """`name` is its group's, `main` supervisord's own configuration, `file` the one that has the program.

    `roots` are the processes that supervisord has started for it.
    """

    name: str
    main: str
    file: str
    roots: tuple[int, ...]

    @property
    def wire(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)


class NotPlain(Exception):
    """Why a program is not to be stopped for good by us. The text is for a person."""


def program_of(pid: int) -> Program:
    """The program that a process is of; raises NotPlain where there is none, or it is not alone in its file."""
    root = pid
    for parent in procfs.ancestors(pid):
        words = procfs.argv(parent)
        if parent != pid and any(os.path.basename(word) == "supervisord" for word in words[:3]):
            break
        root = parent
    else:
        raise NotPlain("supervisord did not start it")
    main = _main(words)
    status = _control(main, "status")
    running = [(name.partition(":")[0], int(main_pid)) for name, main_pid in _RUNS.findall(status.stdout)]
    name = next((name for name, main_pid in running if main_pid == root), "")
    if not name:
        raise NotPlain("supervisord does not say which of its programs process %d is" % root)
    return Program(name, main, _file(name, main), tuple(main_pid for program, main_pid in running if program == name))


def stop_for_good(known: dict[str, Any]) -> process_runner.Finished | None:
    """Stops the program and takes its file out of supervisord's sight; what did not work, None when all did.

    It converges from wherever an earlier call was cut.
    """
    name, main, file = str(known["name"]), str(known["main"]), str(known["file"])
    stopped, status = _control(main, "stop", name + ":*", within=_STOP), _control(main, "status")
    up = (line.partition(":")[0] == name for line in _UP.findall(status.stdout))
    if status.exit not in _TOLD or any(up):
        return stopped
    with contextlib.suppress(FileNotFoundError):
        os.rename(file, file + RETIRED)
    reread = _control(main, "reread")
    updated = _control(main, "update", name) if reread.ok else reread
    status = _control(main, "status")
    known_yet = any(line.partition(":")[0] == name for line in _EVERY.findall(status.stdout))
    return updated if status.exit not in _TOLD or known_yet else None


def way_back(known: Program) -> str:
    """What a person types to have the program again."""
    return f"mv {known.file}%s {known.file} && supervisorctl reread && supervisorctl update {known.name}" % RETIRED


def _main(words: list[str]) -> str:
    """The configuration that a supervisord was started with."""
    for at, word in enumerate(words[:-1]):
        if word in ("-c", "--configuration"):
            return words[at + 1]
    long_options = [word.partition("=")[2] for word in words if word.startswith("--configuration=")]
    return next(iter([*long_options, *filter(os.path.exists, _USUAL)]), _USUAL[0])


def _file(name: str, main: str) -> str:
    """The file that has this program and nothing else; raises NotPlain."""
    section = "program:" + name
    own = _read(main)
    if own.has_section(section):
        raise NotPlain(f"program {name} stands in {main} itself")
    patterns = own.get("include", "files", fallback="").split()
    folder = os.path.dirname(main)
    for path in sorted(
        {path for pattern in patterns for path in glob.glob(os.path.join(folder, pattern.replace("%(here)s", folder)))}
    ):
        sections = _read(path).sections()
        if section in sections:
            if sections != [section]:
                raise NotPlain(f"{path} has more than program {name}")
            return path
    raise NotPlain(f"no file of {main} has a [program:{name}]")


def _read(path: str) -> configparser.RawConfigParser:
    """A file of supervisord's configuration: http://supervisord.org/configuration.html."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise NotPlain(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return parser


def _control(main: str, *words: str, within: float = _SHORT) -> process_runner.Finished:
    return process_runner.run(["supervisorctl", "-c", main, *words], timeout=within, merge_stderr=True)
