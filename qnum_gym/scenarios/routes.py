"""Routes: shortest by length, ties by fewest hops, then lexicographic in the order of nodes [ours, model.md §9].

Lengths are counted in whole micrometres, so that a tie is a tie whatever the order of summation.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

HOPS = 32  # bits below the length in a cost
MICROMETRES_PER_KM = 1e9

Neighbours = list[list[tuple[int, int]]]


def neighbours(nodes: int, ends: Iterable[tuple[int, int]], lengths_km: Iterable[float]) -> Neighbours:
    """Per node, in node order, its (neighbour, cost) over the links between `ends`, node indices.

    A cost is length and hops in one integer, compared in that order: it adds up along a route.
    """
    result: Neighbours = [[] for _ in range(nodes)]
    for (a, b), length in zip(ends, lengths_km, strict=True):
        cost = (round(length * MICROMETRES_PER_KM) << HOPS) + 1
        result[a].append((b, cost))
        result[b].append((a, cost))
    for row in result:
        row.sort()
    return result


def shortest_routes(graph: Neighbours, sources: Collection[int], destination: int) -> dict[int, tuple[int, ...]]:
    """The shortest route to `destination` from each of `sources` that can reach it, as node indices."""
    costs = _costs_to(graph, destination, set(sources))
    return {source: _walk(graph, costs, source, destination) for source in sources if source in costs}


def _costs_to(graph: Neighbours, destination: int, wanted: set[int]) -> dict[int, int]:
    """Dijkstra from the destination, until all that is wanted is settled: the cost of every node settled."""
    settled: dict[int, int] = {}
    best = {destination: 0}
    queue = [(0, destination)]
    missing = set(wanted)
    while queue and missing:
        cost, node = heapq.heappop(queue)
        if node in settled:
            continue
        settled[node] = cost
        missing.discard(node)
        for other, step in graph[node]:
            if other not in settled and cost + step < best.get(other, cost + step + 1):
                best[other] = cost + step
                heapq.heappush(queue, (cost + step, other))
    return settled


def _walk(graph: Neighbours, costs: dict[int, int], source: int, destination: int) -> tuple[int, ...]:
    """From the source, always to the first node (in node order) that lies on a shortest route."""
    route = [source]
    while route[-1] != destination:
        here = route[-1]
        route.append(next(node for node, step in graph[here] if costs.get(node) == costs[here] - step))
    return tuple(route)
