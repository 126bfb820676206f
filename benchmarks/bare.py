"""The other yardstick: the loop of `bare.cpp` with Python's heapq, as one would first write it."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import deque
from itertools import count

INJECT, PAIR, HEADER, ACK = range(4)


def run(
    links: int, rate: float, werner: float, length_km: float, seconds: float, seed: int
) -> tuple[int, float, int, float]:
    """Delivered pairs, their mean Werner parameter, events handled, and wall seconds."""
    cycle, latency = 1_000_000, round(length_km / 2e5 * 1e9)
    p = 1.5 * 10 ** (-0.01 * length_km) * (1 - werner)
    hazard, gamma, log_werner = -math.log1p(-p), 2 * 0.1, math.log(werner)
    draw = random.Random(seed).expovariate
    order = count()
    events: list[tuple[int, int, int, int, list[float]]] = []
    queues: list[deque[list[float]]] = [deque() for _ in range(links)]
    busy = [False] * links

    def at(moment: int, kind: int, link: int, datagram: list[float]) -> None:
        heapq.heappush(events, (moment, next(order), kind, link, datagram))

    def serve(link: int, now: int) -> None:
        if queues[link] and not busy[link]:
            busy[link] = True
            attempts = max(math.ceil(draw(1.0) / hazard), 1)
            at(now + attempts * cycle, PAIR, link, queues[link].popleft())

    delivered = handled = 0
    total = 0.0
    until = round(seconds * 1e9)
    begin = time.perf_counter()
    at(int(draw(rate) * 1e9), INJECT, 0, [])
    while events[0][0] < until:
        now, _, kind, link, datagram = heapq.heappop(events)
        handled += 1
        if kind == INJECT:
            queues[0].append([0.0, 0.0, 0.0])  # stored since, log W, decay
            serve(0, now)
            at(now + int(draw(rate) * 1e9), INJECT, 0, [])
        elif kind == PAIR:
            if link > 0:
                datagram[2] += gamma * (now - datagram[0]) * 1e-9
            datagram[0] = now
            datagram[1] += log_werner
            busy[link] = False
            at(now + latency, HEADER, link, datagram)
            serve(link, now)
        elif kind == HEADER and link + 1 < links:
            queues[link + 1].append(datagram)
            serve(link + 1, now)
        elif kind == HEADER:
            datagram[2] += gamma * (now - datagram[0]) * 1e-9
            at(now + links * latency, ACK, 0, datagram)
        else:
            delivered += 1
            total += math.exp(datagram[1] - datagram[2])
    return delivered, total / max(delivered, 1), handled, time.perf_counter() - begin
