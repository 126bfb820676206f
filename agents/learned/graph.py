"""A graph network as actor and critic of Stable-Baselines3's PPO: one set of weights for networks of any size. [ours]

Sessions and links are the nodes of a bipartite graph, a session's route its edges. Every node begins with its own row
of the observation; in each layer it takes in the mean of its neighbours, weighted by where on the route the hop is (a
message-passing network after Gilmer et al., arXiv:1704.01212, with linear messages), and at the end one head reads a
step of the rate from every session, another one a step of the Werner parameter from every link.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from qnum_gym.agents.learned import files
from qnum_gym.agents.learned.features import RunningScale
from qnum_gym.agents.learned.sb3 import LearnedPolicy, remember
from qnum_gym.agents.learned.zips import no_schedule
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES, ObservationEncoder
from qnum_gym.scenarios import Scenario

FORMAT = 1
ROWS = len(SESSION_FEATURES), len(LINK_FEATURES)
HOP_FEATURES = ("any", "first", "last", "place")  # 1; whether it is the route's first or last hop; 0 first to 1 last

Graph = tuple[Sequence[Sequence[int]], int]  # the links that each session passes, in order; how many links there are


def graph(scenario: Scenario) -> Graph:
    """The graph of a scenario."""
    return scenario.routes, len(scenario.links)


def routing(routes: Sequence[Sequence[int]], links: int) -> NDArray[np.float32]:
    """How much each hop counts [R, 4, L]: for a session and a link on its route the four of `HOP_FEATURES`, else 0."""
    found = np.zeros((len(routes), len(HOP_FEATURES), links), np.float32)
    for r, route in enumerate(routes):
        for k, l in enumerate(route):
            found[r, :, l] = 1.0, k == 0, k == len(route) - 1, k / max(len(route) - 1, 1)
    return found


def over(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, 4, M] as the matrix [N, 4 M] that takes the mean over a node's hops; 0 for a node without any."""
    hops = np.maximum(counts[:, 0].sum(1), 1.0)
    return (counts.transpose(0, 2, 1) / hops[:, None, None]).reshape(len(counts), -1)


class Side(nn.Module):
    """One layer for one kind of node: h' = act(U h + mean over its hops of Σ_k e_k V_k g + b).

    h is the node's own, g the other end's, e_k the hop's features. The mean, as the rows' features are relative: a link
    with six sessions is not twice one with three.
    """

    def __init__(self, own: int, other: int, width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.keep, self.take = nn.Linear(own, width), nn.Linear(other, len(HOP_FEATURES) * width, bias=False)
        self.activation = activation()

    def forward(self, own: Tensor, other: Tensor, means: Tensor) -> Tensor:
        """own [n, N, own], other [n, M, other], means [N, 4 M] of `over` to [n, N, width]."""
        kept = self.keep(own)
        messages = self.take(other).reshape(len(other), means.shape[1], kept.shape[2])
        return self.activation(kept + torch.matmul(means, messages))


class GraphNetwork(nn.Module):
    """Observations [n, 16 R + 13 L] to features of every session [n, R, width] and link [n, L, width]."""

    def __init__(self, graph: Graph, widths: Sequence[int], activation: type[nn.Module], standardise: bool) -> None:
        super().__init__()
        self.sessions, self.links = len(graph[0]), graph[1]
        counts = routing(*graph)
        for name, matrix in (("of_session", over(counts)), ("of_link", over(counts.transpose(2, 1, 0)))):
            self.register_buffer(name, torch.as_tensor(matrix), persistent=False)  # no weight, not saved with them
        self.scales = nn.ModuleList(RunningScale(size) if standardise else nn.Identity() for size in ROWS)
        self.enter = nn.ModuleList(nn.Linear(size, widths[0]) for size in ROWS)
        layers = list(pairwise([widths[0], *widths]))
        self.to_sessions = nn.ModuleList(Side(a, a, b, activation) for a, b in layers)
        self.to_links = nn.ModuleList(Side(a, a, b, activation) for a, b in layers)
        self.activation = activation()

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        split = self.sessions * ROWS[0]
        rows = (
            observations[:, :split].reshape(-1, self.sessions, ROWS[0]),
            observations[:, split:].reshape(-1, self.links, ROWS[1]),
        )
        sessions, links = (
            self.activation(enter(scale(row))) for row, scale, enter in zip(rows, self.scales, self.enter, strict=True)
        )
        of_session, of_link = self.get_buffer("of_session"), self.get_buffer("of_link")
        for to_sessions, to_links in zip(self.to_sessions, self.to_links, strict=True):
            sessions, links = to_sessions(sessions, links, of_session), to_links(links, sessions, of_link)
        return sessions, links


class Heads(nn.Module):
    """What Stable-Baselines3 calls `mlp_extractor`: actions from one graph network, the value from another."""

    def __init__(self, graph: Graph, widths: Sequence[int], activation: type[nn.Module], standardise: bool) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = len(graph[0]) + graph[1], 2 * widths[-1]
        self.actor, self.critic = (GraphNetwork(graph, widths, activation, standardise) for _ in range(2))
        self.of_session, self.of_link = nn.Linear(widths[-1], 1), nn.Linear(widths[-1], 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Observations [n, size] to mean actions [n, R + L] and [n, 2 width]."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Mean actions [n, R + L]."""
        sessions, links = self.actor(features)
        return torch.cat((self.of_session(sessions), self.of_link(links)), 1).squeeze(2)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Mean over the sessions and mean over the links [n, 2 width]."""
        sessions, links = self.critic(features)
        return torch.cat((sessions.mean(1), links.mean(1)), 1)


class GraphActorCritic(ActorCriticPolicy):
    """For `PPO`, over an `AllocationEnv` without signals. No weight has a size that the network decides.

    Args: of SB3's ActorCriticPolicy, with `net_arch` the widths of the layers of message passing; graph: the routes of
        the sessions, the links' indices in order, and the number of links; standardise: rows through `RunningScale`.
    """

    def __init__(self, *arguments: Any, graph: Graph, standardise: bool = False, **options: Any) -> None:
        self.graph, self.standardise = graph, standardise
        cast(Any, super()).__init__(*arguments, **options)

    def _build(self, lr_schedule: Any) -> None:
        widths = cast("list[int]", self.net_arch)
        heads = Heads(self.graph, widths, self.activation_fn, self.standardise)
        self.mlp_extractor = cast(Any, heads)
        self.action_net = cast(Any, nn.Identity())
        self.value_net = nn.Linear(heads.latent_dim_vf, 1)
        self.log_std = nn.Parameter(torch.full((2,), float(self.log_std_init)))  # of rates, of Werner parameters
        for module, gain in ((heads, 2.0**0.5), (heads.of_session, 0.01), (heads.of_link, 0.01), (self.value_net, 1.0)):
            for layer in module.modules():
                self.init_weights(layer, gain)
        self.optimizer = cast(Any, self.optimizer_class)(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Any:
        sizes = torch.tensor([len(self.graph[0]), self.graph[1]], device=self.log_std.device)
        log_std = torch.repeat_interleave(self.log_std, sizes)
        return cast(Any, self.action_dist).proba_distribution(latent_pi, log_std)

    def shape(self) -> dict[str, Any]:
        """What `GraphPolicy` needs beside the weights to build the networks."""
        widths = list(cast("list[int]", self.net_arch))
        return {"net_arch": widths, "activation": self.activation_fn.__name__, "standardise": self.standardise}


class GraphPolicy(LearnedPolicy):
    """A trained graph network on whatever network it meets: a central agent that sees all controllers' rows.

    Args:
        weights: a `state_dict` of a `GraphActorCritic`.
        shape: its `shape()`.
        env_options: what its actions mean, as for `remember`.
        name: as tables show it.
        deterministic: the mean action, not a sample.
    """

    def __init__(
        self,
        weights: dict[str, Tensor],
        shape: dict[str, Any],
        env_options: dict[str, Any],
        *,
        name: str = "graph",
        deterministic: bool = True,
    ) -> None:
        super().__init__(None, name=name, deterministic=deterministic)
        self._weights, self._shape, self._env_options = weights, shape, env_options

    def model(self, scenario: Scenario) -> GraphActorCritic:
        """The weights on the graph of a scenario.

        Raises:
            ValueError: the weights are not those of such networks.
        """
        activation = getattr(nn, self._shape["activation"])
        options = {"net_arch": self._shape["net_arch"], "standardise": self._shape["standardise"]}
        spaces = ObservationEncoder(scenario).space(), ActionMap(scenario).space()
        actor = GraphActorCritic(*spaces, no_schedule, graph=graph(scenario), activation_fn=activation, **options)
        try:
            actor.load_state_dict(self._weights)
        except RuntimeError as error:
            raise ValueError(f"model {self.name!r}: its weights do not fit its shape ({error})") from None
        remember(actor, **self._env_options)
        return actor


def save(policy: GraphActorCritic, env_options: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a policy's weights as plain arrays (`*.npz`): nothing in the file is code, and any network can load it."""
    about = {"format": FORMAT, "shape": policy.shape(), "env_options": env_options}
    files.write(path, about, {name: value.detach().cpu().numpy() for name, value in policy.state_dict().items()})


def load(path: str | os.PathLike[str], *, deterministic: bool = True) -> GraphPolicy:
    """The policy of a file of `save`. Safe to open: it holds numbers and one text.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `save`.
    """
    about, arrays = files.read(path)
    if about.get("format") != FORMAT:
        raise ValueError(f"model = {os.fspath(path)!r}: format {about.get('format')}; valid: {FORMAT}")
    weights = {name: torch.as_tensor(array) for name, array in arrays.items()}
    return GraphPolicy(weights, about["shape"], about["env_options"], name=Path(path).stem, deterministic=deterministic)
