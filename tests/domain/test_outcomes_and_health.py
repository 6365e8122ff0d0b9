import pytest

from domain.deployment import Phase
from domain.health import ailments, environment_healthy
from domain.outcomes import NodeState, OutcomeKind, node_state
from domain.wire import ModuleReport, ModuleState, NodeReport


@pytest.mark.parametrize(
    ("outcome", "touched", "phase", "expected"),
    [
        (None, False, Phase.PLANNING, NodeState.PENDING),
        (OutcomeKind.STAGED, False, Phase.STAGING, NodeState.STAGED),
        (OutcomeKind.STAGED, True, Phase.ACTIVATING, NodeState.ACTIVATING),
        (OutcomeKind.ACTIVATED, True, Phase.VERIFYING, NodeState.ACTIVATED),
        (OutcomeKind.VERIFIED, True, Phase.COMPLETED, NodeState.VERIFIED),
        (OutcomeKind.FAILED, True, Phase.BAKING, NodeState.FAILED),
        (OutcomeKind.VERIFIED, True, Phase.ROLLING_BACK, NodeState.ROLLING_BACK),
        (OutcomeKind.REVERTED, True, Phase.ROLLING_BACK, NodeState.ROLLING_BACK),
        (OutcomeKind.REVERT_VERIFIED, True, Phase.ROLLED_BACK_VERIFIED, NodeState.ROLLED_BACK),
        (OutcomeKind.STAGED, False, Phase.ROLLED_BACK_VERIFIED, NodeState.OLD),
        (None, False, Phase.REJECTED, NodeState.OLD),
    ],
)
def test_what_a_node_is_called(
    outcome: OutcomeKind | None, touched: bool, phase: Phase, expected: NodeState
) -> None:
    assert node_state(outcome, touched=touched, unverified=False, phase=phase) is expected


def test_a_node_that_is_not_proved_to_be_back_is_named_so() -> None:
    state = node_state(
        OutcomeKind.REVERTED, touched=True, unverified=True, phase=Phase.ROLLED_BACK_UNVERIFIED
    )
    assert state is NodeState.UNVERIFIED


def report(*modules: ModuleReport) -> NodeReport:
    return NodeReport(
        node="n1", boot_id="b", agent_version="1", agent_started=0, disk_free_bytes=1, modules=modules
    )


def test_a_node_is_healthy_while_it_reports_and_its_modules_are() -> None:
    well = ModuleReport(module="greeter", state=ModuleState.RUNNING, healthy=True)
    assert ailments(report(well), 29.0) == ()
    assert ailments(report(well), 31.0) != ()
    assert ailments(None, None) != ()
    for sick in ({"healthy": False}, {"state": ModuleState.FAILED}, {"problems": ("tree differs",)}):
        assert ailments(report(well.model_copy(update=sick)), 1.0) != ()


def test_an_environment_without_nodes_is_not_healthy() -> None:
    assert not environment_healthy(nodes=0, healthy=0)
    assert not environment_healthy(nodes=2, healthy=1)
    assert environment_healthy(nodes=2, healthy=2)
