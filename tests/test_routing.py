"""Which customers a canary answers: always the same ones, others for each canary, as many as was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.service.gateway.releases import customer_of, point, side_of

NAMES = st.text(max_size=40)
SHARES = st.floats(0, 1)


@given(NAMES, NAMES, SHARES, SHARES)
def test_a_larger_share_keeps_the_customers_of_a_smaller(customer: str, canary: str, one: float, other: float) -> None:
    if side_of(customer, canary, min(one, other)) == "canary":
        assert side_of(customer, canary, max(one, other)) == "canary"


@given(NAMES, NAMES, SHARES)
def test_none_and_all(customer: str, canary: str, share: float) -> None:
    assert side_of(customer, canary, 0.0) == "prod"
    assert side_of(customer, canary, 1.0) == "canary"
    assert side_of(customer, None, share) == "prod"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_is_met_and_each_canary_has_other_customers(share: float) -> None:
    customers = [f"customer-{number}" for number in range(20_000)]
    first, second = (
        {name for name in customers if side_of(name, version, share) == "canary"} for version in ("v1.1.0", "v1.2.0")
    )
    for chosen in (first, second):  # five standard deviations
        assert abs(len(chosen) - share * 20_000) < 5 * (20_000 * share * (1 - share)) ** 0.5
    both = share * share  # independent of each other
    assert abs(len(first & second) - both * 20_000) < 5 * (20_000 * both * (1 - both)) ** 0.5


def test_the_places_are_these_for_good() -> None:
    """Other gateways and other versions of this code must agree."""
    assert side_of("group acme", "v1.2.0", 0.1) == "prod"
    assert round(point("v1.2.0", "group acme"), 6) == 0.784259


def test_a_customer_named_like_a_key_is_another() -> None:
    assert len({customer_of("a", "a", "a"), customer_of(None, "a", "a"), customer_of(None, "", "a")}) == 3
