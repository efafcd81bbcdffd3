"""What lies on a host is what was pushed there."""

import pytest


def test_current_is_the_release(host, deploy):
    words = (f"{deploy.root}/releases/{deploy.release}", f"{deploy.root}/current")
    release, *found = host.run("readlink -f -- %s %s", *words).stdout.splitlines()
    assert found == [release]


def test_the_release_is_complete(host, deploy):
    marker = f"{deploy.root}/releases/{deploy.release}/.deploy-release.json"
    assert host.run("test -f %s", marker).succeeded, f"{deploy.release} was never finished: no {marker}"


def test_secrets_are_the_apps_alone(host, deploy):
    file = f"{deploy.root}/.deploy/secrets.env"
    if host.run("test -e %s", file).failed:
        pytest.skip("the app has no secrets")
    assert host.check_output("find %s ! -perm 600", file) == "", "others may read the secrets"


def test_the_apps_user_exists(host, deploy):
    if deploy.prefix:
        pytest.skip("a lab of processes has one user")
    assert host.run("id -u %s", deploy.user).succeeded, f"there is no user {deploy.user}"
