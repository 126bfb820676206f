"""Drop policies: who goes when a q-datagram comes to a memory that is full (model.md §4.6).

`compiled(s, l, h)` gives the place in `s.datagrams` of one that waits at link l in the memory of hop h, or NONE if the
newcomer itself is to be dropped; the one in service is never dropped. `s` is as in `disciplines.py`.

`plain(link, waiting)` gives one of those who wait in that memory, in order of arrival, or None.
"""

from __future__ import annotations

from typing import Any

from qnum_gym.rules.rule import NONE, Rules

DROP_POLICIES = Rules("drop_policy", "qnum_gym.drop_policies", compiled="s, l, h", plain="link, waiting")


@DROP_POLICIES.registers("drop_tail")
class DropTail:
    """The newcomer. [paper]"""

    @staticmethod
    def compiled(s: Any, l: int, h: int) -> int:
        return NONE

    @staticmethod
    def plain(link: Any, waiting: list[Any]) -> Any:
        return None


@DROP_POLICIES.registers("push_out")
class PushOut:
    """The oldest that waits. [ours]"""

    @staticmethod
    def compiled(s: Any, l: int, h: int) -> int:
        g = s.links[l].head
        while g != NONE:
            hop = s.hops[s.datagrams[g].hop]
            if hop.index > 0 and hop.direction == s.hops[h].direction:
                return g
            g = s.datagrams[g].next
        return NONE

    @staticmethod
    def plain(link: Any, waiting: list[Any]) -> Any:
        return waiting[0] if waiting else None
