# pyright: basic
"""The winner tree: which event comes next."""

from __future__ import annotations

import numpy as np

from qnum_gym.simulator.kernel.view import inner
from qnum_gym.simulator.state import CHANGE, FEEDBACK, HEADER, INJECTION, NEVER, PAIR, TIMEOUT


@inner
def set_leaf(s, leaf, key):
    """Put `key` at a leaf and play its games again, up to one whose outcome stays. Of equal keys the left one wins."""
    k = s.n_leaves + leaf
    if s.tree[k].key == key:
        return
    s.tree[k].key = key
    while k > 1:
        other = s.tree[k ^ 1]
        # masks, not a branch: who wins is as good as random, and a wrong guess costs more than the whole game
        lost = -(np.int64(other.key < key) | (np.int64(other.key == key) & k & 1))
        key ^= (key ^ other.key) & lost
        leaf ^= (leaf ^ other.leaf) & lost
        k >>= 1
        game = s.tree[k]
        if game.key == key and game.leaf == leaf:
            return
        game.key, game.leaf = key, leaf


@inner
def reschedule_link(s, l):
    """Tell the tree when link l acts next: a pair, or a header arriving at either end."""
    header = min(s.channels[2 * l].next, s.channels[2 * l + 1].next)
    set_leaf(s, l, min((s.links[l].done << 3) | PAIR, (header << 3) | HEADER))


@inner
def reschedule_session(s, r):
    """Tell the tree when source r acts next."""
    session = s.sessions[r]
    key = min((session.next_injection << 3) | INJECTION, (session.next_feedback << 3) | FEEDBACK)
    set_leaf(s, s.n_links + r, min(key, (session.next_timeout << 3) | TIMEOUT))


@inner
def reschedule_change(s):
    """Tell the tree when the scenario changes next."""
    position = s.clock[0].next_change
    time = s.schedule[position].time if position < s.n_schedule else NEVER
    set_leaf(s, s.n_links + s.n_sessions, (time << 3) | CHANGE)
