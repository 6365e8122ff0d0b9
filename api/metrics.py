"""The API's own numbers, and those of the fleet as the store has them when they are asked for."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from domain.deployment import Phase
from store.counts import Counts

# Clients may send any word for a method; each would be a series for ever.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One registry per application."""

    def __init__(self, expiries: Mapping[str, float]) -> None:
        """Begin to count.

        Args:
            expiries: when the certificates that the process was started with end, seconds since the epoch.
        """
        self._registry = CollectorRegistry()
        expires = Gauge(
            "hotswap_certificate_expires_seconds",
            "When a certificate that is in use ends, since the epoch.",
            ("certificate",),
            registry=self._registry,
        )
        for name, moment in expiries.items():
            expires.labels(name).set(moment)
        labels = ("method", "route", "status")
        self._requests = Counter("hotswap_http_requests", "Requests.", labels, registry=self._registry)
        self._seconds = Histogram(
            "hotswap_http_request_seconds",
            "Time to answer; of event streams, time until their end.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._deployments = Gauge(
            "hotswap_deployments",
            "Deployments by present phase.",
            ("environment", "phase"),
            registry=self._registry,
        )
        self._frozen = Gauge(
            "hotswap_lanes_frozen", "Lanes that wait for an operator.", registry=self._registry
        )
        self._gates = Gauge("hotswap_gates_waiting", "Gates that wait for people.", registry=self._registry)
        self._nodes = Gauge("hotswap_nodes", "Registered nodes.", ("environment",), registry=self._registry)
        self._silent = Gauge(
            "hotswap_nodes_silent",
            "Registered nodes that have missed their heartbeats.",
            ("environment",),
            registry=self._registry,
        )
        self._near_quota = Gauge(
            "hotswap_tenants_near_quota",
            "Tenants that have used nine tenths of what their quota allows.",
            ("of",),
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, counts: Counts) -> bytes:
        """All numbers in Prometheus' text format."""
        for environment in counts.nodes:
            for phase in Phase:
                self._deployments.labels(environment, phase).set(
                    counts.deployments.get((environment, phase), 0)
                )
            self._nodes.labels(environment).set(counts.nodes[environment])
            self._silent.labels(environment).set(counts.silent[environment])
        for what, tenants in counts.near_quota.items():
            self._near_quota.labels(what).set(tenants)
        self._frozen.set(counts.frozen)
        self._gates.set(counts.gates)
        return generate_latest(self._registry)
