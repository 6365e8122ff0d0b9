"""Condition checks beside a guard's looks: each by itself, so that one provider's outage blinds no other."""

import asyncio
from collections.abc import Mapping

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.analysis import MetricVerdict, Outcome
from domain.measuring import CheckProgress
from domain.messages import AnalysisInput
from workflows.conditions import Conditions
from workflows.tasks import within


class GuardChecks:
    """The checks of one guard. One that is given up without a decision is begun anew after an interval."""

    def __init__(self, request: AnalysisInput, known: Mapping[str, CheckProgress]) -> None:
        self._request = request
        self._checks = request.rule.conditions
        self._each = [Conditions(request, (check,), known) for check in self._checks]
        self._stopped = False

    @property
    def verdicts(self) -> tuple[MetricVerdict, ...]:
        """Each check as the judge would say it."""
        return tuple(verdict for each in self._each for verdict in each.verdicts)

    @property
    def failed(self) -> bool:
        """Whether a check that counts has failed: only that is a breach."""
        return any(each.outcome is Outcome.FAIL and not each.dry_run for each in self.verdicts)

    @property
    def progress(self) -> dict[str, CheckProgress]:
        """Where each stands, by name."""
        return {name: stands for each in self._each for name, stands in each.progress.items()}

    async def run(self) -> None:
        """Measure until every check is decided, or told to stop."""
        await asyncio.gather(*(self._measure(place) for place in range(len(self._each))))

    def stop(self) -> None:
        """Take no further measurement; one that is under way is waited for by `run`."""
        self._stopped = True
        for each in self._each:
            each.stop()

    async def _measure(self, place: int) -> None:
        while not self._stopped:
            try:
                await self._each[place].run()
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("a check could not be measured: %s", error.cause)
            if self._decided(place):
                return
            begun_anew = f"{self._checks[place].metric.name} is begun anew"
            if not await within(self._request.rule.interval, lambda: self._stopped, begun_anew):
                self._each[place] = Conditions(self._request, (self._checks[place],))

    def _decided(self, place: int) -> bool:
        return all(each.outcome is not Outcome.INCONCLUSIVE for each in self._each[place].verdicts)
