# How gunicorn serves this release; written when the release was made. A gunicorn.conf.py of the app's own is read
# in the middle: it wins over the first part, and the last part, on which rollouts depend, wins over it.
#
# It is read again at every reload, by a master that was started for an earlier release, through the link of its slot.
import importlib
import os
import sys

_here = os.path.dirname(os.path.realpath(__file__))
_releases = os.path.dirname(_here) + os.sep


def _earlier(path):
    """Whether it lies in another release."""
    return isinstance(path, str) and path.startswith(_releases) and not (path + os.sep).startswith(_here + os.sep)


def _now(path):
    """The same place in this release."""
    return os.path.join(_here, *path[len(_releases) :].split(os.sep)[1:]) if _earlier(path) else path


if _releases.endswith("/releases/"):
    # Nothing of the release before may be found any more: not its folders, and not what this file imported from them.
    sys.path[:] = dict.fromkeys(map(_now, sys.path))
    for _name, _module in list(sys.modules.items()):
        if any(map(_earlier, [getattr(_module, "__file__", None), *(getattr(_module, "__path__", None) or ())])):
            del sys.modules[_name]
    for _name in ("PATH", "PYTHONPATH"):
        if _name in os.environ:
            os.environ[_name] = os.pathsep.join(map(_now, os.environ[_name].split(os.pathsep)))
    importlib.invalidate_caches()
os.environ["DEPLOY_RELEASE"] = "20240101T000000Z-abcdef12"
# Where the master was started: no place to import from.
sys.path[:] = [_path for _path in sys.path if os.path.realpath(_path) != os.path.realpath(_here + "/.venv")]
os.chdir(_here)

timeout = 120
accesslog = "-"
if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
    # A heartbeat file on a slow disk makes gunicorn kill workers that are well.
    worker_tmp_dir = "/dev/shm"

if os.path.exists("gunicorn.conf.py"):
    with open("gunicorn.conf.py", "rb") as _own:
        exec(compile(_own.read(), "gunicorn.conf.py", "exec"))

worker_class = "gevent"
workers = 1
graceful_timeout = 30
keepalive = 5
forwarded_allow_ips = "127.0.0.1"
chdir = _here
daemon = False
pidfile = None
reload = False
# With it the workers open the port themselves, and a socket that systemd holds is left alone.
reuse_port = False
# With it, a reload silently keeps the old code.
preload_app = False
# gunicorn 25.1 and later; its default is one socket for all instances of a user. Older versions ignore the name.
control_socket_disable = True
