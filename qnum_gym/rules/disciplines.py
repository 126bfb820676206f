"""Queue disciplines: whose turn it is at a link where at least two q-datagrams wait (model.md §4.6).

`compiled(s, l)` gives the place in `s.datagrams` of one that waits at link l, or NONE to serve nobody yet. `s` is the
network as the kernel sees it (`simulator/kernel/view.py`; its records: `simulator/state.py`). Those who wait are a list
in order of arrival: `s.links[l].head`, `s.datagrams[g].next`, …, NONE.

`plain(link)` gives one of `link.queue`, or None (`simulator/reference/things.py`).
"""

from __future__ import annotations

from typing import Any

from qnum_gym.rules.rule import NONE, Rules

DISCIPLINES = Rules("discipline", "qnum_gym.disciplines", compiled="s, l", plain="link")


@DISCIPLINES.registers("fifo")
class Fifo:
    """First in, first out. [paper]"""

    @staticmethod
    def compiled(s: Any, l: int) -> int:
        return s.links[l].head

    @staticmethod
    def plain(link: Any) -> Any:
        return link.queue[0]


@DISCIPLINES.registers("lifo")
class Lifo:
    """Last in, first out. [ours]"""

    @staticmethod
    def compiled(s: Any, l: int) -> int:
        return s.links[l].tail

    @staticmethod
    def plain(link: Any) -> Any:
        return link.queue[-1]


@DISCIPLINES.registers("fair")
class Fair:
    """Sessions take turns: the oldest of the first session after the one served last. [ours]

    A service uses a turn up; a drop by cut-off does not, for it takes no time of the link.
    """

    @staticmethod
    def compiled(s: Any, l: int) -> int:
        best, nearest = NONE, s.n_sessions + 1
        g = s.links[l].head
        while g != NONE:
            distance = (s.datagrams[g].session - s.links[l].last_session - 1) % s.n_sessions
            if distance < nearest:
                best, nearest = g, distance
            g = s.datagrams[g].next
        return best

    @staticmethod
    def plain(link: Any) -> Any:
        return min(link.queue, key=lambda g: (g.session.index <= link.last_session, g.session.index))
