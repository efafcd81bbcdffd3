"""Where pip is set to take packages from, as an environment and options for uv, which reads none of pip's settings.

pip's files and variables: https://pip.pypa.io/en/stable/topics/configuration/; uv's: https://docs.astral.sh/uv/reference/environment/.
Also read by the controller, for what it resolves itself.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping

# What in a uv.toml says where packages come from. Python 3.9 has nothing that reads TOML; to find a key is enough.
_OWN_SOURCES = re.compile(r"^\s*(\[\[\s*|pip\.)?(index|index-url|extra-index-url|find-links|no-index)\b", re.MULTILINE)
_OWN_VARIABLES = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
# `pip install` reads these two sections, the second over the first.
_SECTIONS = ("global", "install")


def for_uv(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to add to `environ`, so that uv takes packages from where pip would; nothing that is there is replaced.

    Indexes are left alone where uv has its own word about them, in a variable or a uv.toml.

    Args:
        environ: the environment that uv is going to have; its HOME and PIP_* count.
    """
    pip = settings(environ)
    added = {"UV_SYSTEM_CERTS": "true"}  # pip of Debian, and pip of today, trust whom the system trusts
    for name, key in (("SSL_CERT_FILE", "cert"), ("SSL_CLIENT_CERT", "client-cert"), ("UV_HTTP_TIMEOUT", "timeout")):
        added[name] = pip.get(key, "")
    added["UV_INSECURE_HOST"] = " ".join(pip.get("trusted-host", "").split())
    if not environ.get("ALL_PROXY"):
        added["HTTPS_PROXY"] = added["HTTP_PROXY"] = pip.get("proxy", "")
    if not _uv_has_sources(environ):
        added.update(_sources(pip))
    return {name: value for name, value in added.items() if value and not environ.get(name)}


def options_for_uv(environ: Mapping[str, str]) -> list[str]:
    """What only uv's command line can say of the same: `--no-index`, which has no variable.

    Args:
        environ: the environment that uv is going to have, without what `for_uv` adds.
    """
    return ["--no-index"] if _no_index(settings(environ)) and not _uv_has_sources(environ) else []


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip's files and PIP_* variables say: `index-url` → text. Variables win; what is empty counts for nothing."""
    merged_settings: dict[str, str] = {}
    merged = configparser.RawConfigParser(strict=False)
    for path in _files(environ):
        try:
            merged.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself complains about it; a host with uv need not even have pip
    for section in _SECTIONS:
        if merged.has_section(section):
            merged_settings.update((_plain(key), value) for key, value in merged.items(section) if value)
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            merged_settings[_plain(name[4:])] = value
    return merged_settings


def _files(environ: Mapping[str, str]) -> list[str]:
    """pip's files, each over the one before it."""
    own = environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return []
    shared = [folder + "/pip/pip.conf" for folder in _shared_folders(environ)] + ["/etc/pip.conf"]
    if own and os.path.exists(own):
        return [*shared, own]
    home = environ.get("HOME") or os.path.expanduser("~")
    return [*shared, home + "/.pip/pip.conf", _user_folder(environ) + "/pip/pip.conf"]


def _sources(pip: Mapping[str, str]) -> dict[str, str]:
    links = [os.path.expanduser(word) for word in pip.get("find-links", "").split()]
    links = [link for link in links if "://" in link or os.path.exists(link)]  # pip only warns of one that is not there
    if _no_index(pip):
        return {"UV_FIND_LINKS": ",".join(links)}
    return {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(pip.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(links),
        # pip takes the best version of all indexes; uv by itself looks no further than the first that has the name.
        "UV_INDEX_STRATEGY": "unsafe-best-match" if pip.get("extra-index-url") else "",
    }


def _no_index(pip: Mapping[str, str]) -> bool:
    return pip.get("no-index", "").lower() in ("1", "yes", "true", "on")


def _uv_has_sources(environ: Mapping[str, str]) -> bool:
    if any(environ.get(name) for name in _OWN_VARIABLES):
        return True
    folders = ["/etc", *_shared_folders(environ), _user_folder(environ)]
    own = environ.get("UV_CONFIG_FILE")
    return any(_names_sources(path) for path in ([own] if own else [folder + "/uv/uv.toml" for folder in folders]))


def _names_sources(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return bool(_OWN_SOURCES.search(file.read()))
    except OSError:
        return False


def _shared_folders(environ: Mapping[str, str]) -> list[str]:
    return [folder for folder in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if folder]


def _user_folder(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME") or os.path.expanduser("~")
    return environ.get("XDG_CONFIG_HOME") or home + "/.config"


def _plain(key: str) -> str:
    name = key.lower().replace("_", "-")
    return "timeout" if name == "default-timeout" else name
