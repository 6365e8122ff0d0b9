"""The base of every domain object."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable and self-validating; unknown fields are dropped, so that old code reads newer messages.

    Messages between workflows evolve by adding fields with defaults. Where a person writes the input
    (a manifest, a request body) use `Strict`, which refuses unknown fields.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Strict(BaseModel):
    """Immutable, and a field that nobody knows is an error naming it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
