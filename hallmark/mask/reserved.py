"""Values reserved for documentation, which belong to no one: surrogates are drawn from them, and checks may accept them.

Sources: RFC 2606 (domains), RFC 5737 and 3849 (networks), NANP 555-01xx and Ofcom's drama numbers (telephones), and the
test cards of payment processors.
"""

from __future__ import annotations

import ipaddress
import re

DOMAIN = re.compile(
    r"(?:^|[.@])(?:example\.(?:com|net|org|edu)|[a-z0-9-]+\.(?:example|test|invalid|localhost))$", re.IGNORECASE
)
NETWORKS = [
    ipaddress.ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
CARDS = frozenset(("4111111111111111", "4242424242424242", "5555555555554444", "378282246310005", "6011111111111117"))
PHONE = re.compile(r"^(?:00)?1?\d{3}5550(?:1\d\d)$|^(?:00)?44(?:1632960\d{3}|7700900\d{3}|2079460\d{3})$")
