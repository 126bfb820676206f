"""What the policy's signals cost: against closed forms, and against the hops that the event log tells of."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import qnum_gym
from qnum_gym.simulator import JoinedTelemetry, Simulator
from qnum_gym.simulator.state import FEEDBACK, HEADER, INJECTION, PAIR

from .networks import line


@pytest.mark.parametrize("hops", [1, 2, 5])
@pytest.mark.parametrize(
    ("source", "link", "per_hop"),
    [(None, None, 0), (1.0, None, 1), (None, 1.0, 2), (1.0, 1.0, 3), (0.0, 0.0, 3)],
    ids=["none", "source", "link", "both", "zeros"],
)
def test_scalars_per_delivered_pair_of_a_lossless_chain(hops, source, link, per_hop):
    """The source's signal goes each hop once, the links' sum there and back."""
    simulator = Simulator(line(*[1000.0] * hops, window=10**6, initial_rate=0.01))
    simulator.set_controls(
        rates=[20.0],
        werner=[0.5] * hops,
        session_signals=None if source is None else [source],
        link_signals=None if link is None else [link] * hops,
    )
    scalars = delivered = 0
    while delivered < 100 or simulator.in_flight().any():  # in the end none is under way
        seen = simulator.advance(0.01)
        scalars, delivered = scalars + seen.truth.traffic.scalars[0], delivered + seen.sessions.delivered[0]
    assert scalars == per_hop * hops * delivered


OPTIONS = {
    "plain": {},
    "overflow": {"memory": 1},
    "swaps fail": {"swap_success": 0.6},
    "cut-off": {"cutoff": 0.05},
    "messages lost": {"message_loss": 0.15},
    "all": {"memory": 2, "swap_success": 0.8, "cutoff": 0.1, "message_loss": 0.1, "discipline": "lifo"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_hops_agree_with_the_event_log(options):
    """One session, so that a sequence number names a q-datagram: its pairs and headers up to its answer are its way."""
    scenario = qnum_gym.scenario("chain", nodes=5, sessions=1, **options)
    simulator = Simulator(scenario, 3, trace=True)
    simulator.set_controls([40.0], [0.95] * 4, [1.0], [1.0] * 4)
    counted = np.zeros(3, np.int64)
    for _ in range(20):
        traffic = simulator.advance(0.5).truth.traffic
        counted += [traffic.header_hops[0], traffic.answer_hops[0], traffic.scalars[0]]
    log = simulator.events_log()
    came = {}  # sequence number -> hops over which its header has come
    headers = answers = 0
    for _, kind, _, sequence in log.tolist():
        if kind == INJECTION:
            came[sequence] = 0
        elif kind == HEADER:
            came[sequence] += 1
            headers += 1
        elif kind == FEEDBACK:  # from the node to which the header had come
            answers += came[sequence]
    assert counted.tolist() == [headers, answers, 2 * headers + answers]
    assert answers < headers or not options
    assert (log[:, 1] == PAIR).sum() >= headers


def test_a_network_of_many_counts_as_alone():
    scenarios = [qnum_gym.scenario("nsfnet"), qnum_gym.scenario("nsfnet", message_loss=0.1)]
    simulators = [Simulator(scenario, 1) for scenario in scenarios]
    simulators[1].set_controls(link_signals=np.ones(len(scenarios[1].links)))
    alone = [simulator.advance(5.0).truth.traffic for simulator in simulators]
    together = JoinedTelemetry([simulator.state for simulator in simulators]).traffic
    for name in ("header_hops", "answer_hops", "scalars"):
        np.testing.assert_array_equal(getattr(together, name), np.concatenate([getattr(one, name) for one in alone]))
    assert not alone[0].scalars.any()
    assert (alone[1].scalars > 0).sum() > 4


def test_a_copy_still_knows_who_stamps_and_a_reset_forgets_it():
    simulator = Simulator(qnum_gym.scenario("dumbbell"))
    simulator.set_controls(session_signals=[1.0, 1.0, 1.0])
    for other in (copy.deepcopy(simulator), simulator):
        assert other.advance(20.0).truth.traffic.scalars.all()
    simulator.reset(0)
    assert not simulator.advance(20.0).truth.traffic.scalars.any()
