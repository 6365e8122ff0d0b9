"""The sample-ratio test: does the canary get the share of requests that it should?

When it does not, the sides do different work (a load balancer that avoids a slow node, a client that retries
elsewhere) and no comparison of them means anything. Two one-sided conditional-binomial tests of the request
counts against the intended split (Lindon and Malek 2022), with a margin: requests come in bursts, and a split
of 51 % for 50 % hurts no comparison.
"""

import numpy as np
from pydantic import JsonValue

from domain.judges import memory
from domain.judges.evidence import odds
from domain.judges.streams import CountStream
from domain.metrics import JudgeLook

MARGIN = 0.1
NEEDED = 1000.0  # evidence to one
Stored = dict[str, JsonValue]


def follow(look: JudgeLook, stored: Stored, planned: int) -> tuple[str, Stored]:
    """Why the split is not as intended, or ""; and what to keep."""
    if look.expected_share is None or look.canary_requests is None or look.baseline_requests is None:
        return "", stored
    stream = memory.recall_all(CountStream, stored["stream"]) if stored else CountStream.empty((2,))
    counted = np.array([[look.canary_requests], [look.baseline_requests]])
    intended = np.array([[look.expected_share], [1.0 - look.expected_share]])
    stream.update(
        canary=counted,
        baseline=counted[::-1],
        canary_exposure=intended,
        baseline_exposure=intended[::-1],
        margin=MARGIN,
        tolerance=1.0,
        dispersion=np.ones(2),
        look=look.number,
        planned=planned,
    )
    strongest = odds(float(stream.against(look.number, planned).max()))
    before = float(memory.recall(stored["strongest"])) if stored else 0.0
    kept: Stored = {"stream": memory.keep_all(stream), "strongest": max(before, strongest)}
    if max(before, strongest) < NEEDED:
        return "", kept
    total = stream.canary.sum()
    got = float(stream.canary[0] / total) if total > 0 else 0.0
    return (
        f"the canary got {100 * got:.1f} % of the requests where {100 * look.expected_share:.1f} % were "
        f"intended: the two sides do different work"
    ), kept
