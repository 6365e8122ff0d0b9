"""Condition checks of one analysis: each measured when it is due, until all are decided or one is bad."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from temporalio import workflow

from domain.analysis import MetricVerdict
from domain.conditions.metric import ERROR_RETRY_SECONDS, MetricPhase
from domain.conditions.progress import MetricProgress, counted
from domain.conditions.run import Run, assess_run, due_at, is_terminating
from domain.measuring import CheckProgress, Measured, MeasureOrder, condition_verdicts, judged_metric
from domain.messages import AnalysisInput
from domain.providers import ConditionCheck
from workflows.options import MEASUREMENT
from workflows.tasks import within

with workflow.unsafe.imports_passed_through():
    from activities.orders import Measurements


# Seconds since the epoch are exact to a quarter of a microsecond as floats; so short a timer would be none,
# and the loop would not leave the workflow task.
_RESOLUTION = 0.001


class Conditions:
    """The checks of one analysis and where each stands."""

    def __init__(
        self,
        request: AnalysisInput,
        checks: tuple[ConditionCheck, ...],
        known: Mapping[str, CheckProgress] = MappingProxyType({}),
        *,
        since: float | None = None,
        measured: int = 0,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._request = request
        self._checks = checks
        self._told = told
        self._metrics = tuple(judged_metric(check) for check in checks)
        self._progress = {
            name: known.get(name) or CheckProgress(metric=MetricProgress(name=name))
            for name in (check.metric.name for check in checks)
        }
        self.measured = measured
        self.since = since
        self._ending = False
        self._stopped = False
        self.over = not checks

    @property
    def bad(self) -> bool:
        """Whether a check that counts has ended badly, so that nothing else needs to be waited for."""
        dry = [metric.name for metric in self._metrics if metric.dry_run]
        return is_terminating(self._run().metrics, dry, terminate=False)

    @property
    def held(self) -> bool:
        """Whether a check waits for its provider, and is not given up yet."""
        return any(0 < self._progress[each.metric.name].outages <= each.outages for each in self._checks)

    @property
    def progress(self) -> dict[str, CheckProgress]:
        """Where each check stands, by name: what another one of this class can go on from."""
        return dict(self._progress)

    @property
    def verdicts(self) -> tuple[MetricVerdict, ...]:
        """Each check as the judge would say it."""
        return condition_verdicts(self._checks, self._run(), self._progress)

    def stop(self) -> None:
        """Take no further measurement; one that is under way is waited for."""
        self._stopped = True
        self._ending = True

    def end(self) -> None:
        """Measure no more than the checks with a count still need; the others end with what they have."""
        self._ending = True

    async def run(self) -> None:
        """Measure until every check is decided, or one is bad."""
        self.since = started = self.since if self.since is not None else workflow.time()
        while not self.over and not self._stopped:
            due = self._due(started)
            if due is None or self.bad:
                self._ending = True
                self.over = True
                return
            name, at = due
            wait = at - workflow.time()
            if wait > _RESOLUTION:
                await self._pause(wait, name)
                continue
            await self._measure(name)

    async def _pause(self, seconds: float, name: str) -> None:
        """Until the next measurement; the end of the analysis may make it needless."""
        ending = self._ending
        await within(seconds, lambda: self._ending is not ending, f"next measurement of {name}")

    def _due(self, started: float) -> tuple[str, float] | None:
        """The check that is to be measured next, and when; None when none is."""
        run = {each.name: each for each in self._run().metrics}
        times = []
        for metric in self._metrics:
            if self._ending and metric.measurements_needed is None:
                continue
            at = due_at(metric, run[metric.name], started)
            held = self._progress[metric.name].outage_at
            if at is not None:
                times.append((max(at, (held or 0.0) + ERROR_RETRY_SECONDS if held else at), metric.name))
        return (min(times)[1], min(times)[0]) if times else None

    async def _measure(self, name: str) -> None:
        check = next(check for check in self._checks if check.metric.name == name)
        self.measured += 1
        outages = self._progress[name].outages
        order = MeasureOrder(analysis=self._request, check=check, number=self.measured, outages=outages)
        measured: Measured = await workflow.execute_activity_method(
            Measurements.measure, order, summary=f"measure {name} by {check.provider.kind}", **MEASUREMENT
        )
        self._progress[name] = self._after(check, self._progress[name], measured)
        self._told()

    def _after(self, check: ConditionCheck, before: CheckProgress, measured: Measured) -> CheckProgress:
        if measured.measurement is not None:
            # Intervals run on the workflow's clock; those of the machines that measure may differ.
            ours = measured.measurement.model_copy(update={"finished": workflow.time()})
            return CheckProgress(metric=counted(before.metric, ours))
        outages = before.outages + 1
        metric = before.metric
        if outages > check.outages:
            given_up = {"phase": MetricPhase.INCONCLUSIVE, "message": f"{outages} outages in a row"}
            metric = metric.model_copy(update=given_up)
        return CheckProgress(
            metric=metric, outages=outages, outage=measured.outage, outage_at=workflow.time()
        )

    def _run(self) -> Run:
        """Where the checks stand: assessed anew, so that nothing depends on how often somebody asks."""
        progress = {name: each.metric for name, each in self._progress.items()}
        runs = [
            assess_run([metric], progress, terminate=self._ends(metric.name), semantics=check.semantics)
            for check, metric in zip(self._checks, self._metrics, strict=True)
        ]
        return Run(phase=MetricPhase.RUNNING, metrics=tuple(metric for run in runs for metric in run.metrics))

    def _ends(self, name: str) -> bool:
        """Whether what there is must do for this check."""
        metric = next(metric for metric in self._metrics if metric.name == name)
        return self.over or (self._ending and metric.measurements_needed is None)
