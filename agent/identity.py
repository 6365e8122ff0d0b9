"""Who may talk to the agent, and who may give it orders.

TLS itself refuses everybody without a client certificate of our CA: `tls_ca` is the only root, and OpenSSL
accepts a certificate as a client's only if its extended key usage, where it has one, says clientAuth
(RFC 5280, 4.2.1.12). Such a client may read. Orders (bundles, operations) are the control plane's alone: the
subject of its certificate has the common name below. The CA must give that name to nobody else; a node's
certificate carries the node's name there and serverAuth only.

The control plane has one certificate for all tenants, and where an agent listens is what a tenant's admin
says. So each request also names the tenant that it is made for, and an agent answers its own only.
"""

import ssl

from aiohttp import web
from cryptography import x509

from agent.config import AgentConfig
from domain.errors import Forbidden, Unauthenticated, WrongTenant
from domain.names import TenantId
from domain.wire import TENANT_HEADER

CONTROL_PLANE = "hotswap-control-plane"


def server_context(config: AgentConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer, our certificate, and theirs required."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(config.tls_ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.tls_certificate, config.tls_key)
    return context


def certificate_expiry(config: AgentConfig) -> float:
    """When our certificate ends, in seconds since the epoch."""
    own, *_ = x509.load_pem_x509_certificates(config.tls_certificate.read_bytes())
    return own.not_valid_after_utc.timestamp()


def require_control_plane(request: web.Request) -> None:
    """Let only the control plane pass.

    Raises:
        Unauthenticated: no certificate; TLS should not have let it through.
        Forbidden: another client of our CA.
    """
    name = _common_name(request)
    if name is None:
        raise Unauthenticated("a client certificate is needed")
    if name != CONTROL_PLANE:
        raise Forbidden(f"{name} may read, but only the control plane may give orders")


def require_tenant(request: web.Request, own: TenantId) -> None:
    """Let only requests for the agent's own tenant pass.

    Raises:
        WrongTenant: for another tenant, or for none.
    """
    asked = request.headers.get(TENANT_HEADER)
    if asked != own:
        raise WrongTenant(f"this node does not belong to the tenant {asked!r}")


def _common_name(request: web.Request) -> str | None:
    certificate = request.get_extra_info("peercert") or {}
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return "" if certificate else None
