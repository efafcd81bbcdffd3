"""The probe: users' traffic from an independent process, and a receipt of what they would have seen.

with probe.start("http://127.0.0.1:8080", rate=20, mix="full") as prober:
    …
    receipt = prober.stop()
"""

from deployer.probe.judging import unproven_answers
from deployer.probe.prober import Prober, start
from deployer.probe.receipt import Failure, Receipt

__all__ = ["Failure", "Prober", "Receipt", "start", "unproven_answers"]
