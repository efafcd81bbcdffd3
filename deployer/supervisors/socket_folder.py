"""The folder of an app's UNIX sockets: in `/run`, made by setup, and again at each boot as tmpfiles.d(5) says."""

from __future__ import annotations

from deployer.agent.model.resources import Directory, File, Resource
from deployer.supervisors.base import UnitSpec
from deployer.templating import oneline


def socket_folder(spec: UnitSpec) -> list[Resource]:
    """Return what makes it, so that the app's user may put sockets there and everybody may connect to them; none
    without."""
    if not spec.sockets:
        return []
    site, above = spec.site, spec.sockets.rpartition("/")[0]
    directories: list[Resource] = [Directory(above), Directory(spec.sockets, owner=site.user, group=site.user)]
    if site.prefix:  # such a host's /run is a folder like any other
        return directories
    owner = oneline(site.user) if site.user else "-"
    lines = [
        "# Written by deploy: where the UNIX sockets of an app's instances lie.",
        f"d {above} 0755 root root -",
        f"d {spec.sockets} 0755 {owner} {owner} -",
    ]
    return [File(f"/etc/tmpfiles.d/deploy-{site.app}-{site.env}.conf", "\n".join(lines) + "\n"), *directories]
