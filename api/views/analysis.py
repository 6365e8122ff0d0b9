"""An analysis as the API shows it."""

from collections.abc import Sequence
from datetime import datetime

from api.links import PREFIX
from domain.analysis import Verdict
from domain.base import Frozen
from store.records import KeptLook, StoredAnalysis


class LookView(Frozen):
    """One look; `judged` says whether it can be judged again from what was kept."""

    number: int
    at: datetime
    verdict: Verdict
    judged: bool


class AnalysisItem(Frozen):
    """One analysis in a list: its last word so far, after how many looks."""

    id: str
    deployment: str
    wave: int
    looks: int
    at: datetime
    verdict: Verdict
    links: dict[str, str]

    @classmethod
    def of(cls, found: StoredAnalysis) -> "AnalysisItem":
        """What the list shows."""
        return cls(
            id=found.analysis,
            deployment=found.deployment,
            wave=found.wave,
            looks=found.look,
            at=found.at,
            verdict=found.verdict,
            links=_links(found.analysis, found.deployment),
        )


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
    return AnalysisView(
        id=analysis,
        deployment=looks[0].deployment,
        wave=looks[0].wave,
        verdict=looks[-1].verdict,
        looks=tuple(
            LookView(number=look.number, at=look.at, verdict=look.verdict, judged=look.judged is not None)
            for look in looks
        ),
        links=_links(analysis, looks[0].deployment),
    )


def _links(analysis: str, deployment: str) -> dict[str, str]:
    own = f"{PREFIX}/analyses/{analysis}"
    return {
        "self": own,
        "inputs": f"{own}/inputs",
        "report": f"{own}/report",
        "deployment": f"{PREFIX}/deployments/{deployment}",
    }
