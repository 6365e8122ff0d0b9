"""The web provider: one HTTP request, JSON, and what a JSONPath finds in it."""

import json
from typing import Any

import jsonpath

from clients.providers.http import ProviderHttp
from domain.errors import ProviderRefused
from domain.providers import WebProvider


async def ask_web(http: ProviderHttp, provider: WebProvider) -> Any:
    """The result: what the path finds, a list where it may find several, or the whole body.

    Raises:
        ProviderDown, ProviderRefused: see `ProviderHttp.ask`; an answer that is no JSON, and a path that
            finds nothing, are refused.
    """
    content: dict[str, Any] = {}
    if provider.json_body is not None:
        content["json"] = provider.json_body
    elif provider.body is not None:
        content["content"] = provider.body.encode()
    body = await http.ask(
        provider.method, provider.url, timeout=provider.timeout, headers=provider.headers, **content
    )
    try:
        document = json.loads(body)
    except ValueError as error:
        raise ProviderRefused(f"{provider.url}: the answer is no JSON") from error
    if provider.json_path is None:
        return document
    path = jsonpath.compile(provider.json_path)
    found = path.findall(document)
    if isinstance(path, jsonpath.CompoundJSONPath) or not path.singular_query():
        return found
    if not found:
        raise ProviderRefused(f"{provider.url}: nothing at {provider.json_path}")
    return found[0]
