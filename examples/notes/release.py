"""Which release this process is."""

import os

RELEASE = os.environ.get("DEPLOY_RELEASE", "dev")
