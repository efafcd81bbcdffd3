"""The agent as it is sent: the loader on the command line, and all its modules compressed.

The loader knows nothing but how to say what it is, read so many bytes and run one module of them. It is quoted in
single quotes, so it holds none, and neither `!` nor a newline: whatever the login shell is, it passes it on.
"""

from __future__ import annotations

import functools
import json
import zlib
from importlib import resources

from deployer.remote.plugin_driver import driver_sources, read_modules

# argv: the token of this session, the size of the bundle in bytes. It says `ready`, or `old` on a Python too old.
LOADER = (
    "import sys,os;"
    "t,n=sys.argv[1:3];"
    "old=sys.version_info<(3,9);"
    's="%d.%d"%sys.version_info[:2];'
    'os.write(1,("\\nDEPLOY-AGENT %s %s %s\\n"%(t,old and "old" or "ready",s)).encode("ascii"));'
    "old and sys.exit(3);"
    "import json,zlib;"
    'f=os.fdopen(0,"rb",1<<16,closefd=False);'
    "m=json.loads(zlib.decompress(f.read(int(n))).decode());"
    'g={"__name__":"deployer.agent.channel.bootstrap"};'
    'exec(compile(m["channel.bootstrap"],"<agent channel/bootstrap.py>","exec"),g);'
    'g["start"](m,f)'
)


@functools.cache
def bundle(balancer: str = "none") -> bytes:
    """Return all modules of `deployer.agent` as zlib'd JSON `{module: source}`; names are relative to it
    (`site.ledger`).

    `balancer` is the kind that the agent has to drive; another package's driver is among the modules then. Raises
    SettingsError for one that cannot be sent.
    """
    sources = dict(read_modules(resources.files("deployer.agent"))) | driver_sources(balancer)
    return zlib.compress(json.dumps(dict(sorted(sources.items()))).encode(), 6)
