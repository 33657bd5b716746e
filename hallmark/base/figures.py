"""Numbers as people read them: shares, intervals, differences and money, the same in every table and sentence."""

from __future__ import annotations

from hallmark.base.stats import Interval

NONE = "-"  # in a cell
Sides = tuple[str, str, str]  # what a difference above, below and at zero is called
AHEAD: Sides = ("ahead", "behind", "level")
BEHIND: Sides = ("behind", "ahead", "level")
MORE: Sides = ("more", "fewer", "as many")


def shown(value: float | None, form: str, unit: str = "") -> str:
    """A number in a cell, in that format."""
    return NONE if value is None else f"{value:{form}}{unit}"


def rounded_up(count: int) -> int:
    """A count, rounded up to two digits."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step


def money(value: float) -> str:
    """An amount in the currency of the params: `0.035`, `12.50`."""
    return f"{value:.2g}" if value < 1 else f"{value:,.2f}"


def percent(share: float, digits: int = 6) -> str:
    """A share of 1, with that many digits at most: `90 %`."""
    return f"{100 * share:.{digits}g} %"


def rate(share: float) -> str:
    """A share of 1, with one decimal: `75.7 %`."""
    return f"{100 * share:.1f} %"


def points(margin: float) -> str:
    """A margin without its sign: `2 points`."""
    return f"{100 * abs(margin):g} point{'' if abs(margin) == 0.01 else 's'}"


def share(measured: Interval) -> str:
    """A share and its interval: `99.2 % (95.7 to 100.0)`."""
    return f"{rate(measured.value)} ({100 * measured.low:.1f} to {100 * measured.high:.1f})"


def in_brackets(measured: Interval, unit: str = "") -> str:
    """A share and its interval where there is little room: `99.2 [95.7, 100.0]`."""
    return f"{100 * measured.value:.1f}{unit} [{100 * measured.low:.1f}, {100 * measured.high:.1f}]"


def signed(measured: Interval) -> tuple[str, str, str]:
    """A difference in points, and the ends of its interval: `+3.1`, `-1.0`, `+7.2`."""
    value, low, high = (f"{100 * number:+.1f}" for number in (measured.value, measured.low, measured.high))
    return value, low, high


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


def lead(measured: Interval, above: str, below: str) -> str:
    """A difference within a sentence: `3.1 points (-1.0 to 7.2) ahead of`."""
    value, low, high = (100 * number for number in (measured.value, measured.low, measured.high))
    if round(value, 1) == 0:
        return f"level ({low:+.1f} to {high:+.1f} points) with"
    if value < 0:
        value, low, high, above = -value, -high, -low, below
    return f"{value:.1f} points ({low:.1f} to {high:.1f}) {above}"
