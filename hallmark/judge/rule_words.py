"""A rule of the gate in words: what is needed, what was measured, and how many more records would decide it."""

from __future__ import annotations

import math

from hallmark.base.stats import Interval

COULD_NOT = "It could not have failed"
MOST = 1_000_000  # records: beyond this, the number says only that it is out of reach
Sides = tuple[str, str, str]  # what a difference above, below and at zero is called
AHEAD: Sides = ("ahead", "behind", "level")
BEHIND: Sides = ("behind", "ahead", "level")
MORE: Sides = ("more", "fewer", "as many")


def percent(share: float) -> str:
    """A threshold: `90 %`."""
    return f"{100 * share:g} %"


def points(margin: float) -> str:
    """A margin without its sign: `2 points`."""
    return f"{100 * abs(margin):g} point{'' if abs(margin) == 0.01 else 's'}"


def share(measured: Interval) -> str:
    """A share and its interval: `99.2 % (95.7 to 100.0)`."""
    return f"{100 * measured.value:.1f} % ({100 * measured.low:.1f} to {100 * measured.high:.1f})"


def difference(measured: Interval, sides: Sides) -> str:
    """A difference and its interval, in points: `0.8 behind (10.1 behind to 6.4 ahead)`."""
    low, high = (_side(bound, sides) for bound in (measured.low, measured.high))
    if low[1] == high[1] and "" not in (low[0], high[0]):
        near, far = sorted((low[0], high[0]), key=float)
        span = f"{near} to {far} {low[1]}"
    else:
        span = f"{' '.join(filter(None, low))} to {' '.join(filter(None, high))}"
    return f"{' '.join(filter(None, _side(measured.value, sides)))} ({span})"


def _side(value: float, sides: Sides) -> tuple[str, str]:
    number = round(100 * value, 1)
    if number == 0:
        return "", sides[2]
    return f"{abs(number):.1f}", sides[0] if number > 0 else sides[1]


def factor_needed(value: float, bound: float, threshold: float) -> float | None:
    """How many times the records would move `bound`, an end of the interval of `value`, to the threshold.

    An interval's width falls with the square root of the records. None if the value is the threshold: no number would.
    """
    return None if value == threshold else max(1.0, ((bound - value) / (threshold - value)) ** 2)


def factor_of_test(lost: int, won: int, confidence: float) -> float | None:
    """How many times the records, changed in this proportion, make the McNemar test significant (by its normal form)."""
    from statistics import NormalDist

    if lost == won:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return max(1.0, z * z * (lost + won) / (lost - won) ** 2)


def more_needed(count: int, factor: float | None) -> int | None:
    """How many more records or groups than `count` that takes, at least one, rounded up to two digits."""
    if factor is None:
        return None
    more = max(1, math.ceil(count * (factor - 1)))
    step = 10 ** max(0, len(str(more)) - 2)
    return -(-more // step) * step


def decided_by(records: int | None, groups: int | None) -> str:
    """What would decide a rule with too little data, in a sentence."""
    if records is None or groups is None:
        return "No number of records decides it if the measured value stays as it is."
    if records > MOST:
        return "Over a million more records would be needed to decide it, if the measured value stays as it is."
    return (
        f"About {records:,} more record{'s' if records > 1 else ''} ({groups:,} more group{'s' if groups > 1 else ''}) "
        "like these would decide it, if the measured value stays as it is."
    )
