"""Every host can go on being deployed to."""

PYTHON = "import sys; print(sys.version_info >= (3, 9), sys.version.split()[0])"


def test_its_python_can_run_the_agent(host, deploy):
    recent, version = host.check_output("%s -Ic %s", deploy.python or "python3", PYTHON).split()
    assert recent == "True", f"Python {version} is older than 3.9"


def test_its_disk_has_room_for_the_next_release(host, deploy):
    line = host.check_output("df -Pk %s", deploy.root).splitlines()[-1]
    used = int(line.split()[4].rstrip("%"))
    assert used < 95, f"the file system of {deploy.root} is {used} % full"
