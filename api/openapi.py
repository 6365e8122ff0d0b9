"""The OpenAPI document, where FastAPI's own says less, or something else, than the API does."""

from typing import Any, Final

from fastapi import FastAPI

from api.problems import MEDIA_TYPE

_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_NEVER_SENT: Final = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> None:
    """Have the application describe its refusals as the problem documents that they are."""
    framework = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _corrected(framework())
        return app.openapi_schema

    setattr(app, "openapi", document)  # noqa: B010 - a method, as far as type checkers know


def _corrected(document: dict[str, Any]) -> dict[str, Any]:
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"] = {
                status: _answer(response)
                for status, response in operation["responses"].items()
                if not _is_frameworks(response)
            }
    for name in _NEVER_SENT:
        document["components"]["schemas"].pop(name, None)
    return document


def _is_frameworks(response: dict[str, Any]) -> bool:
    """FastAPI's own refusal of bad input; ours is among the 4XX."""
    content = response.get("content", {}).get("application/json", {})
    return bool(content.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"))


def _answer(response: dict[str, Any]) -> dict[str, Any]:
    content = response.get("content", {})
    if any(each.get("schema") == _PROBLEM for each in content.values()):
        return {**response, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
    return response
