"""What the demo measured, and whether that is good enough."""

from pydantic import Field

from domain.base import Frozen


class Report(Frozen):
    """Every number is measured: requests by the traffic, nodes by read-back, times by clocks.

    Attributes:
        requests: sent by the traffic, over the whole demo.
        requests_during_good_rollout: that ended while 2.0.0 was rolled out.
        failed_during_good_rollout: without a 2xx answer at the first try, under way at any time of it.
        bad_release_nodes: that 3.0.0 was ordered to or seen to answer on.
        first_wave_nodes: that the plan of 3.0.0 had in its first wave.
        detection_seconds: from the order to activate 3.0.0 on the first node to the failing verdict.
        rollback_verified: the control plane's own word on the rollback of 3.0.0.
        nodes: in the environment; nodes_verified: whose read-back afterwards shows 2.0.0 at work.
        total_seconds: the demo's, the start of the stack included.
    """

    requests: int
    requests_during_good_rollout: int
    failed_during_good_rollout: int
    bad_release_nodes: int
    first_wave_nodes: int
    detection_seconds: float
    rollback_verified: bool
    nodes: int
    nodes_verified: int
    total_seconds: float
    urls: dict[str, str] = Field(default_factory=dict)

    @property
    def shortfalls(self) -> list[str]:
        """What did not hold; empty when the demo shows what it says."""
        failed, bad, first = self.failed_during_good_rollout, self.bad_release_nodes, self.first_wave_nodes
        claims = (
            (failed == 0, f"{failed} requests failed during the good rollout"),
            (self.requests_during_good_rollout > 0, "no request was counted during the good rollout"),
            (0 < bad <= first, f"the bad release reached {bad} nodes; its first wave has {first}"),
            (self.rollback_verified, "the rollback was not verified"),
            (
                self.nodes_verified == self.nodes,
                f"only {self.nodes_verified} of {self.nodes} nodes prove to run 2.0.0",
            ),
        )
        return [shortfall for holds, shortfall in claims if not holds]
