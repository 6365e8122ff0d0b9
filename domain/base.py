"""The base of every domain object."""

from collections.abc import Mapping
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python


class Frozen(BaseModel):
    """Immutable and self-validating; unknown fields are dropped, so that old code reads newer messages.

    Messages between workflows evolve by adding fields with defaults. Where a person writes the input
    (a manifest, a request body) use `Strict`, which refuses unknown fields.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Strict(BaseModel):
    """Immutable, and a field that nobody knows is an error naming it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def own_words(message: str) -> str:
    """What a validator said, without what pydantic puts before it."""
    return message.removeprefix("Value error, ")


def in_words(error: ValidationError) -> str:
    """What is wrong, on one line: each field and why."""
    told = ((".".join(map(str, each["loc"])), own_words(each["msg"])) for each in error.errors())
    return "; ".join(f"{field}: {message}" if field else message for field, message in told)


def essence(value: Any) -> Any:
    """JSON data that says what a value is, without what is at its default.

    A digest of it survives the addition of fields, so that a vote given before an upgrade still counts after
    it. In return the defaults of such types never change. Tags (fields of a Literal type) are always there:
    they tell apart what differs in nothing else.
    """
    if isinstance(value, BaseModel):
        return {
            name: essence(part)
            for name, field in type(value).model_fields.items()
            if (part := getattr(value, name)) != field.get_default(call_default_factory=True)
            or get_origin(field.annotation) is Literal
        }
    if isinstance(value, Mapping):
        return {str(key): essence(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [essence(part) for part in value]
    return to_jsonable_python(value)
