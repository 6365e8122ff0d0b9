"""Numbers as people read them."""

import math

_SCALES = {"%": (100.0, " %"), "s": (1000.0, " ms"), "bytes": (1 / 1048576, " MiB")}


def amount(value: float | None, unit: str) -> str:
    """A metric's value with its unit: shares as percent, seconds as milliseconds, bytes as MiB."""
    if value is None:
        return "nothing"
    scale, shown = _SCALES.get(unit, (1.0, f" {unit}" if unit else ""))
    return f"{value * scale:.4g}{shown}"


def times(ratio: float | None) -> str:
    """A ratio in words: 1.8 × baseline."""
    return "any multiple of baseline" if ratio is None else f"{ratio:.3g} × baseline"


def percent(level: float) -> str:
    """A confidence level: 99 %, 98.75 %."""
    return f"{100 * level:.4g} %"


def evidence(odds: float) -> str:
    """Evidence for a regression: 250 : 1, or 1 : 30 when it speaks against one."""
    if odds >= 1:
        return f"{_short(odds)} : 1"
    return f"1 : {_short(1 / max(odds, 1e-300))}"


def _short(value: float) -> str:
    if value >= 1e6:
        return f"10^{math.floor(math.log10(value))}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def missing(events: float | None, minutes: float | None) -> str:
    """What is still needed, "about 40 more events or 12 more minutes"; "" when that cannot be told."""
    parts = []
    if events is not None:
        parts.append(f"{max(1, math.ceil(events)):,} more events")
    if minutes is not None:
        short = minutes < 1.5
        parts.append(
            f"{max(1.0, minutes * 60):.0f} more seconds" if short else f"{minutes:,.0f} more minutes"
        )
    return f"about {' or '.join(parts)}" if parts else ""
