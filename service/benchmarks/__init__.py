"""Programs that measure R3MES beside other servers and under abuse. Not part of the package.

Torch's threads read when they are loaded whether to spin or to sleep: they sleep, as in the server.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
