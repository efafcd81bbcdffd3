"""Why a program failed, from the lines that it printed: one line for the headline of an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Warning|Interrupt|Exit|DoesNotExist)\b.*|[a-z_]+(\.\w+)+: .*")
_TRACEBACK = "Traceback (most recent call last):"
_LONGEST = 300  # characters of a line that go into a message
_BUILD = (
    re.compile(r"Failed to (?:download and )?build `([^`]+)`"),
    re.compile(r"Failed building wheel for (\S+)"),
    re.compile(r"Could not build wheels for ([\w.-]+)"),
    re.compile(r"Failed to build installable wheels for some pyproject\.toml based projects \(?([\w.-]+)"),
)
_NEEDS = (
    (r"pg_config", "libpq-dev, gcc, python3-dev"),
    (r"mysql_config|mysqlclient", "default-libmysqlclient-dev, pkg-config, build-essential, python3-dev"),
    (r"ffi\.h", "libffi-dev, build-essential, python3-dev"),
    (r"openssl/\w+\.h", "libssl-dev, build-essential, python3-dev"),
    (r"libxml|xslt", "libxml2-dev, libxslt1-dev, build-essential, python3-dev"),
    (r"jpeglib\.h|jpeg", "libjpeg-dev, zlib1g-dev, build-essential, python3-dev"),
    (r"ldap\.h|lber\.h", "libldap2-dev, libsasl2-dev, build-essential, python3-dev"),
    (r"cargo|rustc", "cargo, build-essential, python3-dev"),
    (r"cmake", "cmake, build-essential, python3-dev"),
    (r"Python\.h", "python3-dev, build-essential"),
    (r"(gcc|cc|g\+\+|clang|x86_64-linux-gnu-gcc)\b.*(not found|No such file|failed)", "build-essential, python3-dev"),
)
_CAUSE = re.compile(r"fatal error: |.*\berror: (command|\[Errno)|\w*Error: |.*not found|.*No such file or directory")
_UNSATISFIABLE = re.compile(r"(?:╰─▶ |hint: )?(Because .*)")
_NO_INDEX = re.compile(r"Retrying \(|Failed to fetch|Connection (refused|reset)|timed out|failure in name resolution")
_NO_MATCH = re.compile(r"ERROR: (No matching distribution found for .*|Cannot install .*|ResolutionImpossible.*)")


def exception_line(lines: Iterable[str]) -> str:
    """The last line of the last Python traceback in `lines`, or an empty string."""
    lines = list(lines)
    begins = [number for number, line in enumerate(lines) if _TRACEBACK in line]
    for line in lines[begins[-1] + 1 :] if begins else ():
        if _EXCEPTION.match(line):
            return line.strip()[:_LONGEST]
    return ""


def cause_of(lines: Iterable[str], ending: str) -> str:
    """`ending` (`exit status 1`), behind the exception that ended the program where `lines` show one."""
    exception = exception_line(lines)
    return f"{exception} ({ending})" if exception else ending


def unfitting(lines: Sequence[str]) -> str:
    """Why uv or pip found no versions that fit together, in its own words; an empty string for another failure."""
    if any(_NO_INDEX.search(line) for line in lines):
        return ""
    for number, line in enumerate(lines):
        match = _NO_MATCH.search(line) or _UNSATISFIABLE.search(line)
        if match:
            more = []
            for after in lines[number + 1 :]:
                if not re.match(r"\s{6,}\S", after):
                    break
                more.append(after.strip())
            return " ".join([match[1].strip(), *more])[:_LONGEST]
    return ""


def unbuilt(lines: Sequence[str]) -> tuple[str, str, str]:
    """The package that could not be built, why, and the system packages that such a build needs.

    Empty strings for what the lines do not say.
    """
    package = next((match[1] for pattern in _BUILD for line in lines for match in [pattern.search(line)] if match), "")
    if not package:
        return "", "", ""
    cause = next((line.strip()[:_LONGEST] for line in lines if _CAUSE.match(line.strip())), "")
    text = package + "\n" + "\n".join(lines)
    return package, cause, next((needs for pattern, needs in _NEEDS if re.search(pattern, text)), "")


def telling(lines: Sequence[str]) -> list[str]:
    """The lines without the framed warnings that build tools print (licence classifiers, deprecations)."""
    kept: list[str] = []
    framed = False
    for line in lines:
        if re.match(r"\s*\*{20,}\s*$", line):
            framed = not framed
        elif not framed and not re.search(r"Setuptools\w*Warning|^\s*!!\s*$", line):
            kept.append(line)
    return kept
