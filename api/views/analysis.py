"""An analysis as the API shows it."""

from collections.abc import Sequence
from datetime import datetime

from api.links import PREFIX
from domain.analysis import Verdict
from domain.base import Frozen
from store.records import KeptLook


class LookView(Frozen):
    """One look; `judged` says whether it can be judged again from what was kept."""

    number: int
    at: datetime
    verdict: Verdict
    judged: bool


class AnalysisView(Frozen):
    """One analysis, look by look."""

    id: str
    deployment: str
    wave: int
    verdict: Verdict
    looks: tuple[LookView, ...]
    links: dict[str, str]


def view(analysis: str, looks: Sequence[KeptLook]) -> AnalysisView:
    """The view of an analysis with at least one look."""
    own = f"{PREFIX}/analyses/{analysis}"
    return AnalysisView(
        id=analysis,
        deployment=looks[0].deployment,
        wave=looks[0].wave,
        verdict=looks[-1].verdict,
        looks=tuple(
            LookView(number=look.number, at=look.at, verdict=look.verdict, judged=look.judged is not None)
            for look in looks
        ),
        links={
            "self": own,
            "inputs": f"{own}/inputs",
            "report": f"{own}/report",
            "deployment": f"{PREFIX}/deployments/{looks[0].deployment}",
        },
    )
