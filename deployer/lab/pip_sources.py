"""Where this machine gets Python packages from, so that the hosts of a lab can do the same."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deployer.agent.dependencies import pip_settings

_KEYS = ("index-url", "extra-index-url", "find-links", "trusted-host", "timeout")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class PipSources:
    """pip's own settings of where packages come from (key → words)."""

    settings: dict[str, tuple[str, ...]]

    @property
    def folders(self) -> tuple[str, ...]:
        """Local folders that hold packages, the parent of an index called `simple`: its files lie beside it."""
        words = [word for key in ("index-url", "extra-index-url", "find-links") for word in self.settings.get(key, ())]
        paths = [unquote(urlsplit(word).path) for word in words if word.startswith(("file://", "/"))]
        tops = [str(Path(path).parent) if Path(path).name == "simple" else path for path in paths]
        return tuple(dict.fromkeys(top for top in tops if Path(top).is_dir()))

    def pip_conf(self) -> str:
        """Return the hosts' `/etc/pip.conf`."""
        lines = [f"{key} = {' '.join(words)}\n" for key, words in self.settings.items()]
        cert = f"cert = {CA_BUNDLE}\n" if Path(CA_BUNDLE).exists() else ""
        return f"[global]\n{cert}disable-pip-version-check = true\n{''.join(lines)}"

    def uv_toml(self) -> str:
        """Return the hosts' `/etc/uv/uv.toml`; like pip, uv then takes the best version of all indexes."""
        lines = ["system-certs = true\n", 'index-strategy = "unsafe-best-match"\n']
        if "index-url" in self.settings:
            lines.append(f"index-url = {json.dumps(self.settings['index-url'][0])}\n")
        for key in ("extra-index-url", "find-links"):
            if key in self.settings:
                lines.append(f"{key} = {json.dumps(list(self.settings[key]))}\n")
        return "".join(lines)


def pip_sources() -> PipSources:
    """Return what pip on this machine is configured to use, by file or by environment; the environment wins."""
    settings = pip_settings.settings(os.environ)
    return PipSources({key: tuple(settings[key].split()) for key in _KEYS if key in settings})
