# pyright: basic
"""Doubly linked lists of q-datagrams: a queue, the answers under way to a source, its timers."""

from __future__ import annotations

from qnum_gym.simulator.kernel.view import inner
from qnum_gym.simulator.state import NONE


def linked_list(head: str, tail: str, before: str, after: str, time: str):
    """Compiled functions for one kind of list; all arguments are fields.

    Args:
        head: the first one, of the record of the link or session that owns the list.
        tail: the last one, likewise.
        before: the neighbour in front, of a q-datagram's record.
        after: the neighbour behind, likewise.
        time: likewise, by which the list is ordered.

    Returns:
        insert, remove: functions (s, owner, g); of equal times the one that came first stands first.
    """

    @inner
    def insert(s, owner, g):
        datagrams = s.datagrams
        front = owner[tail]
        while front != NONE and datagrams[front][time] > datagrams[g][time]:
            front = datagrams[front][before]
        back = owner[head] if front == NONE else datagrams[front][after]
        datagrams[g][before], datagrams[g][after] = front, back
        if front == NONE:
            owner[head] = g
        else:
            datagrams[front][after] = g
        if back == NONE:
            owner[tail] = g
        else:
            datagrams[back][before] = g

    @inner
    def remove(s, owner, g):
        datagrams = s.datagrams
        front, back = datagrams[g][before], datagrams[g][after]
        if front == NONE:
            owner[head] = back
        else:
            datagrams[front][after] = back
        if back == NONE:
            owner[tail] = front
        else:
            datagrams[back][before] = front

    return insert, remove
