"""Policies validate themselves; what people wrote cannot run in the console."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.command import CommandClaims, CommandName, objection
from domain.console import escape
from domain.policy import (
    AnalysisRule,
    Deadlines,
    EnvironmentPolicy,
    FailureBudget,
    GateRule,
    default_policy,
    own_parameters,
)
from domain.readback import mismatch
from domain.release import Kind, ReleaseRef
from domain.roles import Role
from domain.strategy import BlueGreen, Canary, Direct, Rolling
from domain.wire import ModuleReport, ModuleState, RunningProcess

RELEASE = ReleaseRef(module="greeter", version="2.0.0", digest="a" * 64, tree="b" * 64)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Deadlines(node=100, wave=100),
        lambda: Deadlines(wave=9000, deployment=9000),
        lambda: Canary(shares=(10, 50)),
        lambda: Canary(shares=(50, 10, 100)),
        lambda: Canary(shares=(0, 100)),
        lambda: AnalysisRule(duration=10, interval=20),
        lambda: EnvironmentPolicy(gates=(GateRule(name="a"), GateRule(name="a"))),
        lambda: EnvironmentPolicy.model_validate({"gatez": []}),
        lambda: GateRule(name="Not A Slug"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(build):
    with pytest.raises(ValidationError):
        build()


def test_an_unknown_environment_gets_productions_rules():
    assert default_policy("whatever") == default_policy("production")
    assert default_policy("production").gates
    assert not default_policy("production").unsigned_votes


@pytest.mark.parametrize(("tested", "strategy"), [(False, Direct()), (True, BlueGreen(watch=0, keep=0))])
def test_a_catch_up_passes_no_gate_but_the_releases_own_test(tested, strategy):
    policy = EnvironmentPolicy(gates=(GateRule(name="promotion"),)).of_request(
        hotfix=False, catch_up=True, tested=tested
    )
    assert (policy.gates, policy.strategy) == ((), strategy)


@pytest.mark.parametrize(
    ("failed", "executed", "nodes", "exceeded"),
    [
        (1, 1, 20, False),  # too few yet
        (2, 10, 20, True),  # a share of those that had their turn
        (3, 3, 20, True),  # more than the whole wave may have
        (1, 1, 5, True),  # a small wave
        (0, 5, 5, False),
    ],
)
def test_a_large_wave_is_not_judged_by_its_first_nodes(failed, executed, nodes, exceeded):
    budget = FailureBudget(share=0.1, minimum_executed=10)
    assert budget.exceeded_early(failed=failed, executed=executed, nodes=nodes) is exceeded


@pytest.mark.parametrize(
    ("failed", "executed", "exceeded"), [(1, 9, True), (0, 9, False), (1, 10, False), (2, 10, True)]
)
def test_a_percentage_is_never_judged_on_a_few_nodes(failed, executed, exceeded):
    budget = FailureBudget(share=0.1, minimum_executed=10)
    assert budget.exceeded(failed=failed, executed=executed) is exceeded


@given(st.text(max_size=200))
def test_escaped_text_has_no_markup_left(text):
    shown = escape(text)
    assert "<" not in shown
    assert ">" not in shown
    assert "\n" not in shown


def token(**changes) -> CommandClaims:
    facts = {
        "subject": "ana",
        "role": Role.DEPLOYER,
        "deployment": "d1",
        "command": "resume",
        "token_id": "t1",
    }
    return CommandClaims(**{**facts, **changes})


@pytest.mark.parametrize(
    ("command", "claims", "unsigned", "counts"),
    [
        (CommandName.ABORT, None, False, True),
        (CommandName.PAUSE, None, False, True),
        (CommandName.RESUME, None, False, False),
        (CommandName.PROMOTE, None, False, False),
        (CommandName.PROMOTE, None, True, True),
        (CommandName.RESUME, token(), False, True),
        (CommandName.RESUME, token(deployment="d2"), False, False),
        (CommandName.PROMOTE, token(), False, False),
        (CommandName.RESUME, token(role=Role.VIEWER), False, False),
        (CommandName.RESUME, token(token_id="used"), False, False),
    ],
)
def test_anyone_may_stop_but_advancing_needs_proof(command, claims, unsigned, counts):
    why_not = objection(command, claims, deployment="d1", unsigned_allowed=unsigned, used=("used",))
    assert (why_not is None) is counts


def report(**changes) -> ModuleReport:
    process = RunningProcess(
        pid=1, started=1, executable="/usr/bin/python3", release_directory="/r/2.0.0", release_tree="b" * 64
    )
    facts = {
        "module": "greeter",
        "kind": Kind.PROCESS,
        "state": ModuleState.RUNNING,
        "current": RELEASE,
        "tree": "b" * 64,
        "process": process,
        "healthy": True,
    }
    return ModuleReport(**{**facts, **changes})


def test_a_read_back_that_fits_has_no_mismatch():
    assert mismatch(report(), RELEASE) is None
    assert mismatch(ModuleReport(module="greeter", state=ModuleState.ABSENT), None) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"current": RELEASE.model_copy(update={"version": "1.0.0"})}, "has greeter@1.0.0"),
        ({"current": None}, "no release"),
        ({"tree": "c" * 64}, "files on disk"),
        ({"process": None, "state": ModuleState.FAILED}, "failed"),
        ({"process": report().process.model_copy(update={"release_tree": "c" * 64})}, "runs from"),
        ({"healthy": False}, "probe"),
        ({"problems": ("two processes run",)}, "two processes"),
    ],
)
def test_every_way_to_differ_is_named(changes, words):
    assert words in mismatch(report(**changes), RELEASE)


def test_a_module_that_should_be_gone_is_a_mismatch():
    assert "expected none" in mismatch(report(), None)


def test_a_bare_kind_takes_the_policys_parameters_and_anything_said_is_kept():
    policy = EnvironmentPolicy(strategy=Canary(shares=(5, 100)))
    assert own_parameters(policy, None) is None
    assert own_parameters(policy, Canary.model_validate({"kind": "canary"})) is None
    assert own_parameters(policy, Canary(bake=1)) == Canary(bake=1)
    assert own_parameters(policy, Rolling.model_validate({"kind": "rolling"})) == Rolling()


def test_each_environment_starts_with_the_strategy_that_the_design_gives_it():
    kinds = {name: default_policy(name).strategy.kind for name in ("development", "qa", "production")}
    assert kinds == {"development": "direct", "qa": "rolling", "production": "canary"}
