"""The settings of an external issuer of tokens (OpenID Connect)."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from domain.names import TenantId
from domain.roles import Role
from runtime.oidc import OidcRules

_Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+[^\s]*$")]
_HERE = ("127.0.0.1", "localhost", "::1")


class OidcSettings(BaseSettings):
    """Without `oidc_issuer`, only our own tokens count."""

    oidc_issuer: _Url | None = Field(
        default=None, description="Accept tokens of this issuer too: its `iss`, exactly."
    )
    oidc_audience: str | None = Field(
        default=None, min_length=1, description="What such tokens must have as `aud`."
    )
    oidc_jwks_url: _Url | None = Field(
        default=None, description="Where the issuer publishes its keys (https, unless on this machine)."
    )
    oidc_tenant: TenantId = Field(default="default", description="The tenant of the issuer's people.")
    oidc_tenant_claim: str | None = Field(
        default=None, description="The claim that names the tenant instead; dots lead into objects."
    )
    oidc_username_claim: str = Field(
        default="email", description="The claim that names the person; dots lead into objects."
    )
    oidc_roles_claim: str = Field(
        default="roles", description="The claim that lists external roles; dots lead into objects."
    )
    oidc_roles: dict[str, Role] = Field(
        default={}, description='Which external role is which of ours, as JSON: {"sre": "approver"}.'
    )

    @model_validator(mode="after")
    def _an_issuer_is_whole(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if self.oidc_audience is None or self.oidc_jwks_url is None or not self.oidc_roles:
            raise ValueError("oidc_issuer needs oidc_audience, oidc_jwks_url and oidc_roles")
        url = urlsplit(self.oidc_jwks_url)
        if url.scheme != "https" and url.hostname not in _HERE:
            raise ValueError(
                "oidc_jwks_url must be https: whoever can change the answer can sign in as anybody"
            )
        return self

    def oidc_rules(self) -> OidcRules | None:
        """The rules for external tokens, if there are any."""
        if self.oidc_issuer is None or self.oidc_audience is None or self.oidc_jwks_url is None:
            return None
        return OidcRules(
            issuer=self.oidc_issuer,
            audience=self.oidc_audience,
            jwks_url=self.oidc_jwks_url,
            tenant=self.oidc_tenant,
            tenant_claim=self.oidc_tenant_claim,
            username_claim=self.oidc_username_claim,
            roles_claim=self.oidc_roles_claim,
            roles=self.oidc_roles,
        )
