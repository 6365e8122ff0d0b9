"""The settings of tenants: who administers the platform, and under which domain tenants have names."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from domain.names import TenantId


class TenantSettings(BaseSettings):
    """How the API tells tenants apart."""

    platform_tenant: TenantId = Field(
        default="default", description="The tenant whose admins make, suspend and delete the other tenants."
    )
    base_domain: Annotated[str, Field(pattern=r"^[a-z0-9.-]+\.[a-z]+$")] | None = Field(
        default=None,
        description="With `example.com`, acme.example.com is for the tenant acme only.",
    )
