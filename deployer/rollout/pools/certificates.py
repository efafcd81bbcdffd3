"""The certificates of the app's names: whether the user's own will do for long, and what the balancers present now."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.agent.model.messages.requests import CERTIFICATES, ReadCertificates
from deployer.balancers.values import Listen
from deployer.plan.topology import Topology
from deployer.rollout.data import Data
from deployer.rollout.run.run import Run
from deployer.settings.tls import Certificate, certificate_of


class CertificateStatus(Data):
    """A certificate that a balancer presents now."""

    host: str
    """The balancer host."""
    names: list[str]
    """The names that it is for."""
    until: str
    """The day on which it ends, YYYY-MM-DD."""
    days_left: float
    """How many days that is from now; negative when it has ended."""

    @property
    def text(self) -> str:
        """The certificate as one line."""
        names = ", ".join(self.names) or "no name"
        return f"https: certificate of {names}, until {self.until} ({self.days_left:.0f} days)"


def remarks(topology: Topology) -> list[str]:
    """A warning when the user's own certificate, which is to be installed, ends soon."""
    own = topology.certificate
    if own is None or not own.ends_soon():
        return []
    return [f"the certificate ends on {own.until}, in {own.days_left():.0f} days: renew it, then push or setup again"]


def presented_certificates(run: Run) -> Iterator[CertificateStatus]:
    """The certificates that the balancers present. What a person should look at is warned about."""
    for balancer in run.topology.balancers:
        https = run.topology.pool(balancer).https
        if https is None or balancer.name in run.lost:
            continue
        place = Listen.parse(https.listen)
        request = ReadCertificates(
            site=run.site(balancer.name),
            address=place.reached_at,
            port=place.port,
            names=list(run.topology.settings.domains),
        )
        answer = run.call(balancer.name, CERTIFICATES, request, step="certificates")
        certificates: dict[str, Certificate] = {}
        for name, presented in answer["certificates"].items():
            if presented["pem"] is None:
                run.warn(
                    f"https://{name} has no certificate here: {presented['why']}", host=balancer.name, hint=_hint(run)
                )
                continue
            certificate = certificate_of(presented["pem"].encode())
            certificates[certificate.sha256] = certificate
            if not certificate.covers(name):
                names = ", ".join(certificate.names)
                run.warn(f"https://{name} has a certificate for {names}", host=balancer.name, hint=_hint(run))
        for certificate in certificates.values():
            left = certificate.days_left()
            if certificate.ends_soon(renewed=https.certificate is None):
                when = f"ends on {certificate.until}, in {left:.0f} days" if left > 0 else "has ended"
                run.warn(
                    f"the certificate of {', '.join(certificate.names)} {when}", host=balancer.name, hint=_hint(run)
                )
            yield CertificateStatus(
                host=balancer.name, names=list(certificate.names), until=certificate.until, days_left=round(left, 1)
            )


def _hint(run: Run) -> str:
    https = run.topology.pool(run.topology.balancers[0]).https
    if https is not None and https.certificate is None:
        return "journalctl -u deploy-caddy there says why its issuer gives none"
    return f"put a new one where tls.certificate says, then deploy setup {run.topology.env}"
