"""The benchmark's world: two groups of nodes under one load, with noise of several kinds, and regressions.

Sixty minutes in looks of five, one-minute intervals, two hours of history without a change. All arrays are
[repetition, node, minute], latencies [repetition, node, minute, bucket]. The noise is that of canary
rollouts as services see them: skewed latencies with a heavy tail, rare errors, autocorrelated gauges, load
that drifts, incidents that hit both groups.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

MINUTES, HISTORY, LOOK = 60, 120, 5
BOUNDS = 0.010 * 2.0 ** (np.arange(47) / 4)  # seconds: 10 ms … 29 s, four buckets per doubling
MEDIAN, SIGMA = 0.100, 0.5
TAIL_SHARE, TAIL_FROM, TAIL_SHAPE, TAIL_TO = 0.01, 0.5, 1.5, 30.0
ERRORS = 0.001
CPU, CPU_PHI, CPU_SD = 0.40, 0.8, 0.075
MEMORY, MEMORY_PHI, MEMORY_SD = 1000.0, 0.95, 0.02


@dataclass(frozen=True)
class Scenario:
    """One kind of rollout.

    Attributes:
        rpm: requests per minute and group.
        nodes: nodes per group; 1 is a group seen as one series.
        phi: whether gauges are autocorrelated. drift: common trend per hour. incident: shared ten minutes of
            a slow dependency. shocks: independent latency shocks and bursts of errors.
        group_effects: persistent differences between groups that come with the rollout (sd of latency, CPU,
            memory). host_effects: the same per node, there before and after. bad_node: the first canary node
            alone has the effect.
        effect: factors of latency, errors, CPU, memory and the tail (the share of very slow requests) on the
            canary from minute `starts` on.
        traffic: the canary's share of all requests per third of the hour.
        innovations: normal or t3. noise: the rollout's gauge noise over the history's. long_memory: gauges
            that remember for more than an hour.
    """

    name: str
    rpm: float = 600.0
    nodes: int = 1
    phi: bool = True
    drift: bool = True
    incident: bool = False
    shocks: bool = False
    group_effects: tuple[float, float, float] = (0.0, 0.0, 0.0)
    host_effects: tuple[float, float, float] = (0.0, 0.0, 0.0)
    new_effects: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bad_node: bool = False
    effect: dict[str, float] = field(default_factory=dict)
    starts: int = 0
    traffic: tuple[float, float, float] = (0.5, 0.5, 0.5)
    innovations: str = "normal"
    noise: float = 1.0
    long_memory: bool = False
    warming: bool = False

    def but(self, **changes: object) -> "Scenario":
        """The same with these changes."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Group:
    """What one side measured: history first, then the rollout."""

    requests: Array
    errors: Array
    buckets: Array
    cpu: Array
    memory: Array


def simulate(scenario: Scenario, repetitions: int, rng: np.random.Generator) -> tuple[Group, Group]:
    """Canary and baseline of so many rollouts."""
    shape = (repetitions, 1, HISTORY + MINUTES)
    common = _common(scenario, shape, rng)
    return (
        _group(scenario, shape, common, rng, canary=True),
        _group(scenario, shape, common, rng, canary=False),
    )


def _common(scenario: Scenario, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Array]:
    """What both groups share: trend and incident."""
    hours = (np.arange(shape[-1]) - HISTORY) / 60.0
    slope = rng.uniform(-0.3, 0.3, (*shape[:-1], 1)) if scenario.drift else np.zeros((*shape[:-1], 1))
    trend = slope * hours
    slow = np.ones(shape)
    failing = np.ones(shape)
    if scenario.incident:
        begins = HISTORY + rng.integers(0, MINUTES - 10, shape[0])
        minute = np.arange(shape[-1])
        during = (minute >= begins[:, None, None]) & (minute < begins[:, None, None] + 10)
        slow, failing = np.where(during, 2.5, 1.0), np.where(during, 5.0, 1.0)
    return {"trend": trend, "slow": slow, "failing": failing}


def _group(
    scenario: Scenario,
    shape: tuple[int, ...],
    common: dict[str, Array],
    rng: np.random.Generator,
    *,
    canary: bool,
) -> Group:
    nodes = scenario.nodes
    full = (shape[0], nodes, shape[2])
    factor = {
        name: _effect(scenario, name, full, canary=canary)
        for name in ("latency", "errors", "cpu", "memory", "tail")
    }
    lasting = _lasting(scenario, full, rng)
    shock, burst = np.ones(full), np.ones(full)
    if scenario.shocks:
        shock = 1.0 + _autoregressive((shape[0], 1, shape[2]), 0.5, 0.10, rng)
        burst = rng.gamma(2.0, 0.5, (shape[0], 1, shape[2]))
    warm = _warming(full) if scenario.warming and canary else {"latency": np.ones(full), "cpu": np.ones(full)}
    requests = rng.poisson(np.broadcast_to(_load(scenario, full, canary=canary) / nodes, full)).astype(float)
    slower = (1 + 0.4 * common["trend"]) * common["slow"] * factor["latency"] * lasting[0]
    slower = slower * np.clip(shock, 0.3, None) * warm["latency"]
    buckets = _latencies(requests, slower, TAIL_SHARE * factor["tail"], rng)
    share = np.clip(ERRORS * common["failing"] * burst * factor["errors"], 0.0, 1.0)
    errors = rng.binomial(requests.astype(int), np.broadcast_to(share, full)).astype(float)
    cpu = CPU * (1 + common["trend"]) * factor["cpu"] * lasting[1] * warm["cpu"]
    cpu = cpu * np.clip(1 + _gauge_noise(scenario, full, CPU_PHI, CPU_SD, rng), 0.05, None)
    memory = MEMORY * factor["memory"] * lasting[2]
    memory = memory * np.clip(1 + _gauge_noise(scenario, full, MEMORY_PHI, MEMORY_SD, rng), 0.05, None)
    return Group(requests=requests, errors=errors, buckets=buckets, cpu=cpu, memory=memory)


def _load(scenario: Scenario, full: tuple[int, ...], *, canary: bool) -> Array:
    share = np.full(full[2], 0.5)
    share[HISTORY:] = np.repeat(scenario.traffic, MINUTES // 3)
    return 2 * scenario.rpm * (share if canary else 1 - share)


def _effect(scenario: Scenario, name: str, full: tuple[int, ...], *, canary: bool) -> Array:
    factor = np.ones(full)
    if canary and name in scenario.effect:
        touched = slice(0, 1) if scenario.bad_node else slice(None)
        factor[:, touched, HISTORY + scenario.starts :] = scenario.effect[name]
    return factor


def _lasting(scenario: Scenario, full: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
    """Factors of latency, CPU and memory that stay: of groups, of hosts, of new processes."""
    found = []
    for group, host, new in zip(
        scenario.group_effects, scenario.host_effects, scenario.new_effects, strict=True
    ):
        factor = np.ones(full)
        factor = factor * np.exp(host * rng.standard_normal((full[0], full[1], 1)))
        factor[..., HISTORY:] *= np.exp(group * rng.standard_normal((full[0], 1, 1)))
        factor[..., HISTORY:] *= np.exp(new * rng.standard_normal((full[0], full[1], 1)))
        found.append(factor)
    return found


def _gauge_noise(
    scenario: Scenario, full: tuple[int, ...], phi: float, deviation: float, rng: np.random.Generator
) -> Array:
    """Noise whose mean over the group's nodes has this deviation whatever the number of nodes."""
    per_node = deviation * np.sqrt(full[1])
    if scenario.long_memory:
        short = _autoregressive(full, 0.5, per_node * np.sqrt(0.5), rng)
        noise = short + _autoregressive(full, 0.985, per_node * np.sqrt(0.5), rng)
    else:
        noise = _autoregressive(full, phi if scenario.phi else 0.0, per_node, rng, scenario.innovations)
    noise[..., HISTORY:] *= scenario.noise
    return noise


def _autoregressive(
    full: tuple[int, ...], phi: float, deviation: float, rng: np.random.Generator, innovations: str = "normal"
) -> Array:
    """A stationary AR(1) series of this standard deviation."""
    steps = rng.standard_t(3, full) / np.sqrt(3.0) if innovations == "t3" else rng.standard_normal(full)
    series = np.empty(full)
    series[..., 0] = steps[..., 0]
    for minute in range(1, full[-1]):
        series[..., minute] = phi * series[..., minute - 1] + np.sqrt(1 - phi**2) * steps[..., minute]
    return deviation * series


def _warming(full: tuple[int, ...]) -> dict[str, Array]:
    minute = np.maximum(np.arange(full[2]) - HISTORY, 0.0)
    started = np.arange(full[2]) >= HISTORY
    cooling = np.exp(-minute / 4.5) * started
    return {"latency": np.broadcast_to(1 + cooling, full), "cpu": np.broadcast_to(1 + 0.4 * cooling, full)}


def _latencies(requests: Array, slower: Array, share: Array, rng: np.random.Generator) -> Array:
    """Observations per bucket: lognormal around 100 ms, a share of (1 %) Pareto from 500 ms to 30 s."""
    slower = np.broadcast_to(slower, requests.shape)[..., None]
    body = ndtr(np.log(BOUNDS / (MEDIAN * slower)) / SIGMA)
    start = TAIL_FROM * slower
    tail = np.where(start < BOUNDS, 1.0 - (start / BOUNDS) ** TAIL_SHAPE, 0.0)
    slow = share[..., None]
    below = (1 - slow) * body + slow * np.clip(tail, 0.0, 1.0)
    shares = np.diff(
        np.concatenate([np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])], axis=-1)
    )
    shares = np.clip(shares, 0.0, None)
    shares /= shares.sum(axis=-1, keepdims=True)
    return rng.multinomial(requests.astype(np.int64), shares).astype(float)
