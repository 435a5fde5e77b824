# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of this machine and of others, as ZeroMQ takes them and as people write them."""

from __future__ import annotations

import ipaddress

LOCALHOST = "localhost"


def bare(host: str) -> str:
    """A host without the brackets that an IPv6 address has where a port follows."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def url(host: str, port: int) -> str:
    """``tcp://HOST:PORT``, with brackets around IPv6 addresses."""
    host = bare(host)
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine.

    Names but ``localhost`` are not looked up, and short forms such as ``127.1`` not understood: both count as other
    machines.
    """
    host = bare(host)
    if host == LOCALHOST:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_loopback
