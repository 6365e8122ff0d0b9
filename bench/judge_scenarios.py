"""Which rollouts are simulated, and what the sequential judge must show on each."""

from dataclasses import dataclass

from bench.judge_world import Scenario

DIURNAL = Scenario("diurnal")
IID = Scenario("iid", phi=False, drift=False)
EDGE = {"latency": 1.05, "cpu": 1.05, "memory": 1.05}
FINE_EDGE = {"latency": 1.02, "cpu": 1.02, "memory": 1.02}
PODS = (0.02, 0.03, 0.02)


@dataclass(frozen=True)
class Case:
    """A scenario and its bars.

    Attributes:
        alarms: the most false alarms of any metric, in percent; None where there is an effect.
        metric: which metric the effect is on.
        found: the least share of rollouts in which it is found, in percent.
        median: the latest median look.
        false_passes: the metric's true regression is its tolerance: the most passes, in percent.
        weight: repetitions over the usual number.
    """

    scenario: Scenario
    alarms: float | None = None
    metric: str = ""
    found: float | None = None
    median: int | None = None
    false_passes: float | None = None
    weight: float = 1.0
    fine: bool = False


def _null(scenario: Scenario, alarms: float, weight: float = 1.0, *, fine: bool = False) -> Case:
    return Case(scenario, alarms=alarms, weight=weight, fine=fine)


NULLS = (
    _null(IID, 1.0),
    _null(DIURNAL, 1.0),
    _null(DIURNAL.but(name="diurnal, 60 rpm", rpm=60.0), 1.0),
    _null(DIURNAL.but(name="diurnal, 6000 rpm", rpm=6000.0), 1.0),
    _null(DIURNAL.but(name="incident", incident=True), 1.0),
    _null(DIURNAL.but(name="harsh", shocks=True), 1.0),
    _null(DIURNAL.but(name="pods", group_effects=PODS), 5.0),
    _null(DIURNAL.but(name="hosts", host_effects=PODS), 5.0),
    _null(DIURNAL.but(name="t(3) innovations", innovations="t3"), 5.0),
    _null(DIURNAL.but(name="noise 1.5 times the history's", noise=1.5), 5.0),
    _null(DIURNAL.but(name="long memory", long_memory=True), 5.0),
    _null(DIURNAL.but(name="traffic 10, 30, 50 %", traffic=(0.1, 0.3, 0.5)), 5.0),
    _null(DIURNAL.but(name="traffic 10, 30, 50 %, harsh", traffic=(0.1, 0.3, 0.5), shocks=True), 5.0),
    _null(DIURNAL.but(name="boundary, diurnal", effect=EDGE), 5.0),
    _null(DIURNAL.but(name="boundary, harsh", effect=EDGE, shocks=True), 5.0),
    _null(IID.but(name="boundary, iid", effect=EDGE), 5.0),
    _null(DIURNAL.but(name="boundary at 2 %, diurnal", effect=FINE_EDGE), 5.0, fine=True),
    _null(DIURNAL.but(name="diurnal, margin 2 %"), 5.0, fine=True),
    _null(DIURNAL.but(name="harsh, margin 2 %", shocks=True), 5.0, fine=True),
)

SPREAD = (0.04, 0.06, 0.04)
NODES = tuple(
    case
    for nodes, weight in ((3, 1.0), (5, 0.7), (10, 0.4), (30, 0.15))
    for case in (
        _null(DIURNAL.but(name=f"{nodes} nodes that differ", nodes=nodes, host_effects=SPREAD), 5.0, weight),
        _null(
            DIURNAL.but(name=f"{nodes} nodes, new processes differ", nodes=nodes, new_effects=SPREAD),
            5.0,
            weight,
        ),
        _null(
            DIURNAL.but(
                name=f"{nodes} nodes, one bad",
                nodes=nodes,
                bad_node=True,
                effect={"latency": 2.0, "errors": 10.0, "cpu": 2.0, "memory": 1.5},
            ),
            5.0,
            weight,
        ),
        Case(
            DIURNAL.but(name=f"{nodes} nodes, latency +50 %", nodes=nodes, effect={"latency": 1.5}),
            metric="latency",
            found=99.0,
            median=1,
            weight=weight,
        ),
        Case(
            DIURNAL.but(name=f"{nodes} nodes, memory +50 %", nodes=nodes, effect={"memory": 1.5}),
            metric="memory",
            found=97.0,
            median=2,
            weight=weight,
        ),
    )
)


def _effect(
    name: str,
    metric: str,
    factor: float,
    found: float | None = None,
    median: int | None = None,
    **changes: object,
) -> Case:
    fine = bool(changes.pop("fine", False))
    scenario = DIURNAL.but(name=name, effect={metric: factor}, **changes)
    return Case(scenario, metric=metric, found=found, median=median, fine=fine)


EFFECTS = (
    _effect("latency +10 %, 60 rpm", "latency", 1.1, rpm=60.0),
    _effect("latency +10 %, 60 rpm, margin 2 %", "latency", 1.1, 90.0, 7, rpm=60.0, fine=True),
    _effect("latency +10 %", "latency", 1.1, 99.0, 2),
    _effect("latency +50 %, 60 rpm", "latency", 1.5, 99.0, 1, rpm=60.0),
    _effect("latency +50 %", "latency", 1.5, 99.0, 1),
    _effect("latency +50 %, harsh", "latency", 1.5, 99.0, 2, shocks=True),
    Case(
        DIURNAL.but(name="3 % very slow requests instead of 1 %", effect={"tail": 3.0}),
        metric="latency",
        found=95.0,
        median=4,
    ),
    _effect("errors ×1.5, 6000 rpm", "errors", 1.5, 98.0, 5, rpm=6000.0),
    _effect("errors ×2", "errors", 2.0, 50.0, 12),
    _effect("errors ×10, 60 rpm", "errors", 10.0, 97.0, 6, rpm=60.0),
    _effect("errors ×10", "errors", 10.0, 99.0, 1),
    _effect("errors ×10, harsh", "errors", 10.0, 99.0, 1, shocks=True),
    _effect("cpu +10 %", "cpu", 1.1),
    _effect("cpu +50 %", "cpu", 1.5, 99.0, 2),
    _effect("cpu ×2", "cpu", 2.0, 99.0, 1),
    _effect("memory +10 %", "memory", 1.1),
    _effect("memory +50 %", "memory", 1.5, 99.0, 1),
    _effect("latency +50 % from minute 30 on", "latency", 1.5, 99.0, 8, starts=30),
    _effect("latency +10 % from minute 30 on", "latency", 1.1, 90.0, 9, starts=30),
    _effect("errors ×10 from minute 30 on", "errors", 10.0, 97.0, 8, starts=30),
    _effect("memory +50 % from minute 30 on", "memory", 1.5, 97.0, 8, starts=30),
    _effect("cpu ×2 from minute 30 on", "cpu", 2.0, 97.0, 8, starts=30),
    _effect("latency +50 %, traffic 10, 30, 50 %", "latency", 1.5, 99.0, 1, traffic=(0.1, 0.3, 0.5)),
    _effect("errors ×10, traffic 10, 30, 50 %", "errors", 10.0, 97.0, 3, traffic=(0.1, 0.3, 0.5)),
)

# At the edge of the tolerance a pass is wrong: the share of alpha that one metric has is 1.25 %.
FALSE_PASSES = tuple(
    Case(
        base.but(name=f"{metric} truly at its tolerance{suffix}", effect={metric: factor}),
        metric=metric,
        false_passes=5.0,
    )
    for base, suffix in ((DIURNAL, ""), (DIURNAL.but(shocks=True), ", harsh"))
    for metric, factor in (("errors", 2.0), ("latency", 1.25), ("cpu", 1.5), ("memory", 1.25))
)

CASES = (*NULLS, *NODES, *EFFECTS, *FALSE_PASSES)
