"""The probe: users' traffic from an independent process, and a receipt of what they would have seen.

with probe.start("http://127.0.0.1:8080", rate=20, mix="full") as prober:
    …
    receipt = prober.stop()
"""

from deployer.probe.judging import unproven_answers
from deployer.probe.preflight import Answer, ask, target_of
from deployer.probe.prober import Prober, start
from deployer.probe.receipt import Failure, Receipt

__all__ = ["Answer", "Failure", "Prober", "Receipt", "ask", "start", "target_of", "unproven_answers"]
