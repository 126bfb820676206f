"""Gradients through the network: a small policy learns on the fluid in torch, and then runs on packets as it is.

Every source and every link has the same two small networks, and sees its own measurements alone: no prices, no signals.

    python examples/fluid_gradients.py 150      # updates; a second of processor time each
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.integrations.torch_fluid import TorchFluid
from qnum_gym.simulator import Controls

UPDATES = int(sys.argv[1]) if len(sys.argv) > 1 else 150
NETWORKS, INTERVALS, SETTLED = 16, 50, 20  # side by side; of an episode; from which on utility counts
STEP = 0.2  # of log R and log(1 - w), at most, in an interval

torch.manual_seed(0)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
scenario = qnum_gym.scenario("dumbbell")
limits = {k: torch.tensor(getattr(scenario.arrays(), k)) for k in ("rate_min", "rate_max", "werner_min", "werner_max")}
sources, links = (nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1), nn.Tanh()) for _ in range(2))


def controls(rates: Tensor, mean: Tensor, unacked: Tensor, werner: Tensor, queue: Tensor, busy: Tensor) -> list[Tensor]:
    """The next rates and Werner parameters, of what sources and links have measured."""
    seen = torch.stack([rates.log() / 2.0 - 1.0, 10.0 * (mean - 0.85), torch.log1p(unacked) / 2.0 - 1.0], -1)
    rates = rates * torch.exp(STEP * sources(seen)[..., 0])
    seen = torch.stack([-torch.log1p(-werner) - 3.0, torch.log1p(queue) - 1.0, 2.0 * busy - 1.0], -1)
    werner = 1.0 - (1.0 - werner) * torch.exp(-STEP * links(seen)[..., 0])
    return [
        rates.clamp(limits["rate_min"], limits["rate_max"]),
        werner.clamp(limits["werner_min"], limits["werner_max"]),
    ]


class Learned(agents.Policy):
    """The same networks behind telemetry, whoever measured it."""

    local = True

    def prepare(self) -> None:
        """A source remembers the W of its last pairs."""
        self.mean = np.zeros(len(self.networks.of_session))

    def forget(self, which: np.ndarray) -> None:
        """An episode begins in the networks `which`."""
        self.mean[self.networks.rows(which)[0]] = 0.85

    def act(self, seen: agents.Seen) -> Controls:
        """The controls of the next interval."""
        s, l, n = seen.sessions, seen.links, len(self.networks.scenarios)
        self.mean = np.where(s.delivered > 0, s.mean_werner, self.mean)
        own = s.rate, self.mean, s.unacked, l.werner, l.mean_queue, l.utilisation
        with torch.no_grad():
            rates, werner = controls(*(torch.tensor(np.asarray(x, float).reshape(n, -1)) for x in own))
        return Controls(rates.numpy().ravel(), werner.numpy().ravel())


def train() -> None:
    """Ascend the utility of episodes from all kinds of controls, through the network."""
    fluid, (r, l) = TorchFluid(scenario), (len(scenario.sessions), len(scenario.links))
    optimiser = torch.optim.Adam([*sources.parameters(), *links.parameters()], lr=0.01)
    for update in range(UPDATES):
        state = fluid.start(NETWORKS)
        rates, werner = 30.0 ** torch.rand(NETWORKS, r), 1.0 - 0.01 * 10.0 ** torch.rand(NETWORKS, l)
        mean, utility = torch.full((NETWORKS, r), 0.85), torch.zeros(NETWORKS)
        for interval in range(INTERVALS):
            state, flows = fluid.advance(state, rates, werner)
            mean = torch.where(flows.delivered > 0.01, flows.werner / flows.delivered.clamp(min=0.01), mean)
            rates, werner = controls(rates, mean, state.unacked, werner, flows.mean_queue, flows.utilisation)
            if interval >= SETTLED:
                utility = utility + fluid.utility(flows) / (INTERVALS - SETTLED)
        optimiser.zero_grad()
        (-utility.mean()).backward()
        nn.utils.clip_grad_norm_([*sources.parameters(), *links.parameters()], 1.0)
        optimiser.param_groups[0]["lr"] = 0.01 * (1.0 - update / UPDATES) + 1e-4
        optimiser.step()
        if update % 20 == 0:
            print(f"update {update}: utility {utility.mean().item():.3f}", flush=True)


def score(simulator: str) -> float:
    """The mean over 20 seeds, which change nothing on the fluid."""
    results = evaluation.evaluate(scenario.replace(simulator=simulator), {"learned": Learned()}, range(20))
    found = evaluation.statistics.mean(results.score[0])
    print(f"{simulator}: score {found:.3f}")
    return found.mean


before = score("packet")
train()
score("fluid")
print(f"on packets: score before {before:.3f}, after {score('packet'):.3f}")
