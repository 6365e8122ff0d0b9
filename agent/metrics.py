"""The agent's own Prometheus metrics: one registry per agent."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class AgentMetrics:
    """What the agent counts about itself."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.operations = Counter(
            "hotswap_agent_operations",
            "Operations by action and outcome: ok, failed, refused, replayed.",
            ("action", "outcome"),
            registry=self._registry,
        )
        self.restarts = Counter(
            "hotswap_agent_module_restarts",
            "Restarts of crashed module processes.",
            ("module",),
            registry=self._registry,
        )
        self.staged_bytes = Counter(
            "hotswap_agent_staged_bytes", "Bytes of bundles received.", registry=self._registry
        )
        self.module_up = Gauge(
            "hotswap_agent_module_up",
            "1 when the current release runs, 0 when it does not.",
            ("module", "version"),
            registry=self._registry,
        )
        self.certificate_expires = Gauge(
            "hotswap_agent_certificate_expires_seconds",
            "When the certificate that the agent shows ends, since the epoch.",
            registry=self._registry,
        )

    def exposition(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)
