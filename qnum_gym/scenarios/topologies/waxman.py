"""Waxman's random networks: near nodes are more likely to be linked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from qnum_gym.config import ScenarioError
from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, RandomPairs, at_least, positive

SQRT2 = math.sqrt(2.0)  # diagonal of the unit square


@TOPOLOGIES.registers("waxman")
class Waxman(RandomPairs):
    """Random nodes, linked with probability beta exp(−distance/(alpha · diagonal)); sessions join random nodes."""

    def graph(
        self,
        nodes: int = 20,
        links: int | None = None,
        area_km: float = 30.0,
        alpha: float = 0.2,
        beta: float = 0.9,
        seed: int = 0,
    ) -> Graph:
        """The network in a square of side `area_km`; components are joined by their nearest nodes [ours].

        With a number of `links`, the nodes are first joined that way and the other links then drawn one by one with
        the same weights (beta has no say) until there are so many.
        """
        at_least(2, nodes=nodes)
        positive(area_km=area_km, alpha=alpha, beta=beta)
        if links is None:
            drawn: Graph = nx.waxman_graph(  # pyright: ignore[reportUnknownMemberType]
                nodes, beta=beta, alpha=alpha, L=SQRT2, seed=seed
            )
            places = np.array([drawn.nodes[v]["pos"] for v in range(nodes)])
            edges = [(a, b) for a, b in drawn.edges]
            edges += _joining(places, edges)
        else:
            at_least(1, links=links)
            if not nodes - 1 <= links <= nodes * (nodes - 1) // 2:
                valid = f"{nodes} nodes take {nodes - 1} to {nodes * (nodes - 1) // 2} links"
                raise ScenarioError(f"scenario: links = {links!r}: {valid}")
            rng = np.random.default_rng(seed)
            places = rng.random((nodes, 2))
            edges = _drawn(places, _joining(places, []), links, alpha, rng)
        graph: Graph = nx.Graph()
        graph.add_nodes_from((v, {"pos": tuple(area_km * places[v])}) for v in range(nodes))
        graph.add_edges_from(
            (a, b, {"length_km": area_km * float(np.hypot(*(places[a] - places[b])))}) for a, b in edges
        )
        return graph


def _joining(places: NDArray[np.float64], edges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The shortest further edges that join all components: Kruskal over the Delaunay triangulation, which has them."""
    n = len(places)
    joined = nx.utils.UnionFind(range(n))
    for a, b in edges:
        joined.union(a, b)
    if n < 5:
        pairs = set(itertools.combinations(range(n), 2))
    else:
        from scipy.spatial import Delaunay  # takes its time  # pyright: ignore[reportMissingTypeStubs]

        corners = np.sort(Delaunay(places).simplices, axis=1).tolist()
        pairs = {pair for triangle in corners for pair in itertools.combinations(triangle, 2)}
    further: list[tuple[int, int]] = []
    for a, b in sorted(pairs, key=lambda pair: (float(np.hypot(*(places[pair[0]] - places[pair[1]]))), pair)):
        if joined[a] != joined[b]:
            joined.union(a, b)
            further.append((a, b))
    return further


def _drawn(
    places: NDArray[np.float64], edges: list[tuple[int, int]], links: int, alpha: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """`edges` and further ones drawn by rejection until there are `links`: pairs at random, kept by Waxman's weight."""
    kept = dict.fromkeys(edges)
    while len(kept) < links:
        pairs = np.sort(rng.integers(len(places), size=(65536, 2)), axis=1)
        distance = np.hypot(*(places[pairs[:, 0]] - places[pairs[:, 1]]).T)
        keep = (rng.random(len(pairs)) < np.exp(-distance / (alpha * SQRT2))) & (distance > 0)
        for a, b in pairs[keep].tolist():
            if len(kept) < links:
                kept[a, b] = None
    return list(kept)
