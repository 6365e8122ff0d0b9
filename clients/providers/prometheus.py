"""Prometheus's HTTP API (v1): instant and range queries.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from clients.providers.http import ProviderHttp
from domain.base import Frozen
from domain.errors import ProviderRefused
from domain.series import Series

Point = tuple[float, str]


class _Scalar(Frozen):
    resultType: Literal["scalar"]  # noqa: N815 - the API's name
    result: Point


class _VectorElement(Frozen):
    metric: dict[str, str]
    value: Point


class _Vector(Frozen):
    resultType: Literal["vector"]  # noqa: N815 - the API's name
    result: tuple[_VectorElement, ...]


class _MatrixElement(Frozen):
    metric: dict[str, str]
    values: tuple[Point, ...]


class _Matrix(Frozen):
    resultType: Literal["matrix"]  # noqa: N815 - the API's name
    result: tuple[_MatrixElement, ...]


class _Other(Frozen):
    resultType: Literal["string"]  # noqa: N815 - the API's name


class _Answer(Frozen):
    status: Literal["success"]
    data: Annotated[_Scalar | _Vector | _Matrix | _Other, Field(discriminator="resultType")]


_ANSWER: TypeAdapter[_Answer] = TypeAdapter(_Answer)


class PrometheusClient:
    """Asks any number of Prometheus servers, each by its address."""

    def __init__(self, http: ProviderHttp) -> None:
        self._http = http

    async def value(
        self,
        address: str,
        query: str,
        *,
        at: float | None = None,
        timeout: float,  # noqa: ASYNC109 - handed on to the request
    ) -> float | list[float]:
        """A query's value at an instant: a scalar, or the values of a vector.

        Raises:
            ProviderDown, ProviderRefused: see `ProviderHttp.ask`; a result that is neither is refused.
        """
        form = {"query": query, "timeout": _duration(timeout)} | ({} if at is None else {"time": repr(at)})
        data = (await self._answer(address, "query", form, timeout)).data
        if isinstance(data, _Scalar):
            return float(data.result[1])
        if isinstance(data, _Vector):
            return [float(each.value[1]) for each in data.result]
        raise ProviderRefused(f"{address}: a query gave a {data.resultType}, neither scalar nor vector")

    async def series(
        self,
        address: str,
        query: str,
        *,
        start: float,
        end: float,
        step: float,
        timeout: float,  # noqa: ASYNC109 - handed on to the request
    ) -> tuple[Series, ...]:
        """A query's values at start, start + step, … end; all are of whole milliseconds.

        Raises:
            ProviderDown, ProviderRefused: see `ProviderHttp.ask`.
        """
        form = {
            "query": query,
            "start": repr(start),
            "end": repr(end),
            # As a duration: of a number like 1.001 the server makes 1000 ms, because it cuts off, and drifts.
            "step": f"{round(step * 1000)}ms",
            "timeout": _duration(timeout),
        }
        data = (await self._answer(address, "query_range", form, timeout)).data
        if not isinstance(data, _Matrix):
            raise ProviderRefused(f"{address}: a range query gave a {data.resultType}")
        return tuple(
            Series(labels=each.metric, points=tuple((at, float(value)) for at, value in each.values))
            for each in data.result
        )

    async def _answer(self, address: str, path: str, form: dict[str, str], timeout: float) -> _Answer:  # noqa: ASYNC109
        url = f"{address.rstrip('/')}/api/v1/{path}"
        body = await self._http.ask("POST", url, timeout=timeout, data=form)
        try:
            return _ANSWER.validate_json(body)
        except ValidationError as error:
            raise ProviderRefused(f"{url}: not an answer of Prometheus") from error


def _duration(seconds: float) -> str:
    """As Prometheus writes times: whole units only."""
    return f"{max(1, round(seconds * 1000))}ms"
