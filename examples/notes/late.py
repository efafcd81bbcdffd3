"""Imported anew for every request to /late: says from which release folder the import came.

A process whose code folder is a link that moves under it would import this from the next release.
"""

from pathlib import Path

from release import RELEASE as OF_THE_PROCESS

_folder = Path(__file__).resolve().parent
RELEASE = _folder.name if _folder.parent.name == "releases" else OF_THE_PROCESS
