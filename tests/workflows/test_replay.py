"""Recorded histories still replay: a change that would break rollouts under way fails here."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from runtime.temporal import workflow_runner
from workflows import ALL_WORKFLOWS

HISTORIES = Path(__file__).parent.parent / "histories"
RECORDED = sorted(HISTORIES.glob("*/*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.finding("20")
async def test_a_recorded_history_replays(path):
    replayer = Replayer(
        workflows=list(ALL_WORKFLOWS),
        data_converter=pydantic_data_converter,
        workflow_runner=workflow_runner(),
    )
    history = WorkflowHistory.from_json(path.stem, path.read_text())
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None


def test_every_workflow_has_recorded_histories():
    assert {path.parent.name for path in RECORDED} == {workflow.__name__ for workflow in ALL_WORKFLOWS}


async def test_a_history_whose_commands_differ_does_not_replay():
    """The replay test can fail: one activity under another name is enough."""
    path = HISTORIES / "DeploymentWorkflow" / "direct.json"
    broken = path.read_text().replace('"name": "activate"', '"name": "something_else"')
    assert broken != path.read_text()
    replayer = Replayer(
        workflows=list(ALL_WORKFLOWS),
        data_converter=pydantic_data_converter,
        workflow_runner=workflow_runner(),
    )
    result = await replayer.replay_workflow(
        WorkflowHistory.from_json("broken", broken), raise_on_replay_failure=False
    )
    assert result.replay_failure is not None
