"""The fluid form in torch against the compiled one, and its gradients against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym.scenarios import Scenario, ScenarioError

torch = pytest.importorskip("torch")
from qnum_gym.integrations.torch_fluid import TorchFluid  # noqa: E402

CASES: dict[str, dict[str, Any]] = {
    "dumbbell": {},
    "nsfnet": {"hold": "ack", "feedback_delay": 1.3, "swap_success": 0.9, "gate_factor": 0.99, "memory": 4},
    "chain": {"window": 9, "control_interval": 0.3, "link_model": "single_click_exact", "dark_count": 1e-5},
}


def drawn(scenario: Scenario, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Controls around what links can bear."""
    a = scenario.arrays()
    return rng.uniform(2.0, 25.0, len(a.source)), rng.uniform(np.fmax(a.werner_min, 0.9), 0.98)


@pytest.mark.parametrize("name", CASES)
def test_both_forms_are_equal(name: str) -> None:
    s, rng = qnum_gym.scenario(name, simulator="fluid", **CASES[name]), np.random.default_rng(0)
    simulator, fluid = qnum_gym.Simulator(s), TorchFluid(s)
    state = fluid.start(2)
    counted = np.zeros(len(s.sessions))
    for _ in range(30):
        rates, werner = drawn(s, rng)
        simulator.set_controls(rates, werner)
        telemetry = simulator.advance(s.control_interval)
        state, flows = fluid.advance(
            state, torch.tensor(np.stack([rates, rates])), torch.tensor(np.stack([werner] * 2))
        )
        links = telemetry.links
        np.testing.assert_allclose(flows.mean_queue.numpy(), [links.mean_queue] * 2, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(flows.utilisation.numpy(), [links.utilisation] * 2, atol=1e-8)  # in whole ns
        np.testing.assert_allclose(state.amount[1].numpy(), simulator.state.tanks["amount"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.werner[1].numpy(), simulator.state.tanks["werner"], rtol=1e-9, atol=1e-12)
        unacked = simulator.state.fluid_sessions["unacked"]
        np.testing.assert_allclose(state.unacked[0].numpy(), unacked, rtol=1e-9, atol=1e-12)
        counted += flows.delivered[0].numpy() - telemetry.sessions.delivered
        assert (np.abs(counted) < 1.0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    s = qnum_gym.scenario("nsfnet", swap_success=0.95, feedback_delay=0.7, memory=4, window=6, control_interval=0.5)
    fluid, (rates, werner) = TorchFluid(s), drawn(s, np.random.default_rng(1))

    def run(rates: Any, werner: Any) -> Any:
        state, total = fluid.start(), 0.0
        for _ in range(4):
            state, flows = fluid.advance(state, rates, werner)
            total = total + flows.werner.sum() + flows.mean_queue.sum() + flows.lost.sum()
        return total, fluid.utility(flows)

    inputs = tuple(torch.tensor(x, requires_grad=True) for x in (rates, werner))
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-4, rtol=1e-4)


def test_a_network_that_changes_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"changes at 5 s; valid: one without changes"):
        TorchFluid(qnum_gym.scenario("dumbbell", events=[{"time": 5.0, "link": ("left", "right"), "up": False}]))
    with pytest.raises(ScenarioError, match="knows 'sequential' only"):
        TorchFluid(qnum_gym.scenario("dumbbell", swapping="parallel"))
