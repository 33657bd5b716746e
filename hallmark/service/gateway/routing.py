"""Who answers: prod, or the canary for a share of the customers, always the same ones as long as it is the canary.

A customer is a point between 0 and 1: the first 64 bits of SHA-256 over the canary's version and the customer's name. Those
below the share go to the canary. All gateways agree on it without talking to each other, a larger share keeps the customers
that a smaller one had, and the version in the hash gives each canary other customers, so that not always the same ones
meet what is new.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Side = Literal["prod", "canary"]
SIDES: tuple[Side, ...] = ("prod", "canary")


def point(salt: str, customer: str) -> float:
    """Where a customer lies from 0 to 1 (never 1 itself), evenly spread over all customers."""
    digest = hashlib.sha256(f"{salt}\0{customer}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # 53 bits: what a float holds without rounding up to 1


def side_of(customer: str, canary: str | None, share: float) -> Side:
    """The side that answers a customer. `canary`: its version; None if there is none."""
    return "canary" if canary is not None and point(canary, customer) < share else "prod"


def customer_of(group: str | None, caller: str, request: str) -> str:
    """Who must not flip between the sides: the customer, else the API key; else there is nobody, and each request is one.

    The three kinds can't be mistaken for one another.
    """
    return f"group {group}" if group is not None else f"key {caller}" if caller else f"request {request}"
