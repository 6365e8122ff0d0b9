"""The settings of traces and metrics."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings


class TelemetrySettings(BaseSettings):
    """Where a process sends what it tells of itself."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+[^\s]*$")] | None = Field(
        default=None, description="An OTLP collector's URL for traces (HTTP); none are sent without."
    )
