"""Messages that send requests from a balancer's own host: to servers, and to the balancer as users do."""

from __future__ import annotations

from deployer.agent.model.layout import OnSite
from deployer.agent.model.supervision import Health
from deployer.agent.model.typed import Amount, NotRequired, Operation, Port, TypedDict, Wire


class AskServers(OnSite):
    """`servers`: name → `ADDRESS:PORT` or a socket's path. `wait`: seconds in which a failing server is asked again."""

    servers: dict[str, str]
    health: Wire[Health]
    wait: NotRequired[Amount]


class ServerAnswer(TypedDict):
    """`status` null: no answer. `refused`: a host is there, and nothing listens at that port."""

    ok: bool
    status: int | None
    why: str
    refused: bool


class ServersAnswered(TypedDict):
    """By server."""

    servers: dict[str, ServerAnswer]


class RequestDomains(OnSite):
    """`tls`: the balancer terminates it. `wait`: seconds in which a name with a server error is asked again."""

    address: str
    port: Port
    tls: NotRequired[bool]
    names: list[str]
    path: str
    wait: NotRequired[Amount]


class DomainAnswer(TypedDict):
    """`status` null: no answer, and why. `location`: where a redirect leads, else empty."""

    status: int | None
    why: str
    location: str


class DomainsAnswered(TypedDict):
    """By name."""

    names: dict[str, DomainAnswer]


class ConnectToBalancer(OnSite):
    """Where users connect to the balancer, as its own host reaches it."""

    address: str
    port: Port


class Connected(TypedDict):
    """Whether the balancer accepts the connection; `why` it does not."""

    open: bool
    why: str


class ReadCertificates(OnSite):
    """Where the balancer is asked, and for which names."""

    address: str
    port: Port
    names: list[str]


class PresentedCertificate(TypedDict):
    """`pem` null: there is none, and why."""

    pem: str | None
    why: str


class Certificates(TypedDict):
    """By name."""

    certificates: dict[str, PresentedCertificate]


SERVERS = Operation("servers.ask", AskServers, ServersAnswered, ("servers", lambda request: list(request["servers"])))
DOMAINS = Operation("domains.request", RequestDomains, DomainsAnswered, ("names", lambda request: request["names"]))
CONNECT = Operation("domains.connect", ConnectToBalancer, Connected)
CERTIFICATES = Operation(
    "tls.presented", ReadCertificates, Certificates, ("certificates", lambda request: request["names"])
)
