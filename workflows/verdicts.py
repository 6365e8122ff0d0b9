"""Verdicts of waves and guards, where people look for them."""

from temporalio import workflow

from domain.analysis import Verdict
from domain.console import verdict_details
from domain.measuring import Conclusion
from domain.messages import AnalysisInput
from workflows.attributes import VERDICT
from workflows.options import MEASUREMENT

with workflow.unsafe.imports_passed_through():
    from activities.orders import Measurements


def show_verdict(subject: str, verdict: Verdict) -> None:
    """Bring it into the list view and to the workflow's page."""
    workflow.upsert_search_attributes([VERDICT.value_set(verdict.outcome)])
    workflow.set_current_details(verdict_details(subject, verdict))


async def keep_last_word(analysis: AnalysisInput, verdict: Verdict) -> None:
    """Show what checks had a part in, and write it down."""
    show_verdict(analysis.subject, verdict)
    conclusion = Conclusion(analysis=analysis, verdict=verdict)
    await workflow.execute_activity_method(
        Measurements.keep, conclusion, summary="keep the last word", **MEASUREMENT
    )
