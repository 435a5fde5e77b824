# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes listen on, as Linux tells it."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

LISTENS = "0A"
UNCONNECTED = "07"
"""Of UDP sockets: whoever sends something there is heard."""


@dataclass(frozen=True)
class Listener:
    """One socket that others can reach: its protocol (``tcp``, ``udp6``, …), address and port."""

    protocol: str
    address: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (inner or address).is_loopback


def listeners(process: int) -> set[Listener]:
    """The sockets of one process that others can reach; none where it has ended."""
    own = _inodes(process)
    found = set()
    for protocol, state in (("tcp", LISTENS), ("tcp6", LISTENS), ("udp", UNCONNECTED), ("udp6", UNCONNECTED)):
        table = Path(f"/proc/net/{protocol}")
        for line in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == state and fields[9] in own:
                address, port = fields[1].split(":")
                found.add(Listener(protocol, _address(address), int(port, 16)))
    return found


def family(process: int) -> list[int]:
    """A process and everything that it has started, directly or not."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    members = [process]
    for member in members:
        members += [p for p, parent in parents.items() if parent == member]
    return members


def _inodes(process: int) -> set[str]:
    found = set()
    try:
        entries = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return found
    for entry in entries:
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        except OSError:
            continue
        if match:
            found.add(match[1])
    return found


def _address(text: str) -> str:
    """The kernel prints each 32-bit word in the machine's own byte order."""
    raw = b"".join(int(text[i : i + 8], 16).to_bytes(4, "little") for i in range(0, len(text), 8))
    return str(ipaddress.ip_address(raw))
