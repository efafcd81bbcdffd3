"""uv takes packages from where pip is set to; the real pip and the real uv say whether it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from release_site import FILES, Host, make_wheel, write

from deployer.agent.dependencies import pip_settings, uv_cache
from deployer.agent.model.messages.dependencies import PythonFacts
from deployer.agent.operation import OpError
from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.dependencies.resolving import Resolution, find_uv, resolve

CONF = """
[global]
index-url = https://me:p%40ss@pypi.example/simple
extra-index-url =
    https://one.example/simple
    https://two.example/simple
cert = /etc/company.pem
trusted-host = one.example
timeout = 5
[install]
timeout = 60
[download]
index-url = https://not.example/simple
"""

# `pip config list` will not do: today's shows what every file says, in the order of their paths.
ASK_PIP = """\
import json, sys
from pip._internal.configuration import Configuration
from pip._internal.exceptions import ConfigurationError
known, told = Configuration(isolated=False), {}
known.load()
for key in sys.argv[1:]:
    try:
        told[key] = known.get_value("global." + key)
    except ConfigurationError:
        told[key] = None
print(json.dumps(told))
"""


def home(folder: Path, conf: str = CONF, **environ: str) -> dict[str, str]:
    """An environment whose pip.conf is this one, and no other that this machine may have."""
    (folder / ".config/pip").mkdir(parents=True, exist_ok=True)
    (folder / ".config/pip/pip.conf").write_text(conf)
    return {"HOME": str(folder), "XDG_CONFIG_DIRS": str(folder / "xdg"), **environ}


def test_pips_settings_become_uvs(tmp_path: Path) -> None:
    found = pip_settings.for_uv(home(tmp_path))
    wanted = {
        "UV_DEFAULT_INDEX": "https://me:p%40ss@pypi.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "one.example",
        "UV_HTTP_TIMEOUT": "60",
        "SSL_CERT_FILE": "/etc/company.pem",
        "UV_SYSTEM_CERTS": "true",
    }
    assert wanted.items() <= found.items()


def test_pips_variables_win_over_its_files_and_uvs_over_both(tmp_path: Path) -> None:
    by_variable = home(tmp_path, PIP_INDEX_URL="https://env.example/simple", PIP_CERT="", SSL_CERT_FILE="/mine.pem")
    found = pip_settings.for_uv(by_variable)
    assert found["UV_DEFAULT_INDEX"] == "https://env.example/simple" and "SSL_CERT_FILE" not in found
    found = pip_settings.for_uv(home(tmp_path, UV_INDEX_URL="https://uv.example/simple"))
    assert not {name for name in found if "INDEX" in name}


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ('index-url = "https://x/simple"', True),
        ('[[index]]\nurl = "https://x/simple"', True),
        ('[pip]\nextra-index-url = ["https://x"]', True),
        ('python-downloads = "never"\n# index-url = "x"', False),
    ],
)
def test_a_uv_toml_that_names_indexes_is_uvs_own_word(tmp_path: Path, text: str, own: bool) -> None:
    environ = home(tmp_path)
    (tmp_path / ".config/uv").mkdir()
    (tmp_path / ".config/uv/uv.toml").write_text(text)
    assert ("UV_DEFAULT_INDEX" not in pip_settings.for_uv(environ)) is own


@pytest.mark.parametrize("named", [False, True], ids=["files", "files and PIP_CONFIG_FILE"])
def test_files_rank_as_pip_ranks_them(tmp_path: Path, named: bool) -> None:
    """Asked of pip itself, with a file in every place that a user has."""
    environ = home(tmp_path, "[global]\nindex-url = https://user/\nproxy = http://user:1\nfind-links = https://user/\n")
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip/pip.conf").write_text("[global]\nindex-url = https://legacy/\nretries = 7\n")
    for folder, wait in (("xdg", 3), ("xdg2", 4)):
        (tmp_path / folder / "pip").mkdir(parents=True)
        text = f"[global]\nindex-url = https://{folder}/\ntimeout = {wait}\nproxy = http://{folder}:1\n"
        (tmp_path / folder / "pip/pip.conf").write_text(text)
    environ["XDG_CONFIG_DIRS"] = f"{tmp_path}/xdg:{tmp_path}/xdg2"
    (tmp_path / "own.conf").write_text("[global]\nfind-links = https://own/\ntimeout = 5\n")
    if named:
        environ["PIP_CONFIG_FILE"] = str(tmp_path / "own.conf")
    keys = ("index-url", "proxy", "retries", "timeout", "find-links")
    said = subprocess.run(
        [sys.executable, "-c", ASK_PIP, *keys], env=environ, capture_output=True, text=True, check=True
    )
    ours = pip_settings.settings(environ)
    assert {key: ours.get(key) for key in keys} == json.loads(said.stdout)


def test_a_null_device_switches_pips_files_off(tmp_path: Path) -> None:
    assert "index-url" not in pip_settings.settings(home(tmp_path, PIP_CONFIG_FILE=os.devnull))


def test_a_host_with_nothing_but_a_pip_conf_installs_by_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    make_wheel(links, "tinyserver", "1.2")
    home(tmp_path, f"[global]\nno-index = true\nfind-links = {links} {tmp_path}/not-there\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    host = Host(tmp_path).set_up()
    spec = _uv("u1")
    assert host.ship("20261101T100000Z-aaaaaaaa", write(tmp_path / "source", FILES), venv=spec)["venv_built"]
    assert "1.2" in _version(host, "u1")

    # wheels that came along need no pip.conf: what it names is not even there any more
    (links / "tinyserver-1.2-py3-none-any.whl").rename(links / "gone")
    make_wheel(tmp_path / "wheels", "tinyserver", "1.2")
    spec = _uv("u2", env={"UV_NO_CACHE": "1"})
    host.ship("20261102T100000Z-bbbbbbbb", write(tmp_path / "source", FILES), tmp_path / "wheels", venv=spec)
    assert "1.2" in _version(host, "u2")


def test_no_index_is_obeyed_though_a_package_is_in_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is a folder that has the package, so that uv fails only if it does not look there."""
    make_wheel(tmp_path / "index/tinyserver", "tinyserver", "1.2")
    [wheel] = (tmp_path / "index/tinyserver").iterdir()
    (tmp_path / "index/tinyserver/index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    monkeypatch.setenv("HOME", str(tmp_path))
    host = Host(tmp_path).set_up()
    tree = write(tmp_path / "source", FILES)

    home(tmp_path, f"[global]\nindex-url = file://{tmp_path}/index\nno-index = true\n")
    operations: tuple[Callable[[], object], ...] = (
        lambda: host.ship("20261101T100000Z-aaaaaaaa", tree, venv=_uv("u1")),
        lambda: host.call("venv.resolve", venv=_uv("u1", requirements=["tinyserver"])),
    )
    for operation in operations:
        with pytest.raises(OpError) as caught:
            operation()
        assert caught.value.code in ("install_failed", "no_versions")
    resolution = Resolution(("tinyserver",), (), (), HostPython.of(_here(host), "uv", find_uv()))
    assert resolve(resolution, {"HOME": str(tmp_path)}).text is None

    home(tmp_path, f"[global]\nindex-url = file://{tmp_path}/index\n")
    host.ship("20261101T100000Z-aaaaaaaa", tree, venv=_uv("u1"))
    assert "1.2" in _version(host, "u1")
    assert (resolve(resolution, {"HOME": str(tmp_path)}).text or "").split() == ["tinyserver==1.2"]


def test_virtualenvs_link_to_the_cache_and_a_cache_that_outgrew_them_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path).set_up()
    make_wheel(tmp_path / "links", "tinyserver", "1.2")
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "links")}
    host.ship("20261101T100000Z-aaaaaaaa", write(tmp_path / "source", FILES), venv=_uv("u1", env=env))
    [module] = Path(host.site.venv("u1")).glob("lib/python*/site-packages/tinyserver.py")
    cache = Path(uv_cache.path(host.site))
    assert cache.stat().st_dev == module.stat().st_dev and module.stat().st_nlink == 2

    uv = str(find_uv())
    assert not uv_cache.bound(host.site, uv)  # far from too large
    assert module.stat().st_nlink == 2
    monkeypatch.setattr(uv_cache, "_LARGEST", 0)
    assert uv_cache.bound(host.site, uv)
    assert module.stat().st_nlink == 1 and "1.2" in _version(host, "u1")


def _uv(key: str, **more: Any) -> dict[str, Any]:
    given = {"key": key, "python": sys.executable, "installer": "uv", "uv": find_uv()}
    return {**given, "requirements": ["tinyserver==1.2\n"], **more}


def _here(host: Host) -> PythonFacts:
    described: Any = host.call("venv.inspect", python=sys.executable)
    return cast("PythonFacts", described)


def _version(host: Host, key: str) -> str:
    argv = [host.site.venv(key) + "/bin/python", "-c", "import tinyserver; print(tinyserver.VERSION)"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
