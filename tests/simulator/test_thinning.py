"""What links measure of losses on the way, by the sequence numbers of headers, against the probabilities themselves."""

import numpy as np
import pytest

import qnum_gym
from qnum_gym.simulator import Simulator, Telemetry

HOPS = 5
SIGNALS = np.array([0.5, 2.0, 1.0, 3.0, 0.25])


def run(seconds: float, rate: float = 10.0, **options: object) -> Telemetry:
    """A chain of five links after `seconds`, its last interval all of them."""
    s = qnum_gym.scenario("chain", nodes=HOPS + 1, coherence_time=1e6, window=10_000, memory=10_000, **options)
    simulator = Simulator(s, 3)
    simulator.set_controls(np.full(1, rate), np.full(HOPS, 0.9), np.zeros(1), SIGNALS)
    return simulator.advance(seconds)


@pytest.mark.parametrize(
    ("swap_success", "message_loss"), [(0.9, 0.0), (0.5, 0.0), (1.0, 0.2), (0.7, 0.1)], ids=lambda x: f"{x}"
)
@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
def test_share_that_gets_as_far_and_what_it_pays(swapping: str, swap_success: float, message_loss: float) -> None:
    """A q-datagram is at link l's queue after l headers, and l - 1 swaps; a request (parallel) after l headers."""
    l = np.arange(HOPS)
    share = (1.0 - message_loss) ** l
    if swapping == "sequential":
        share = share * swap_success ** np.maximum(l - 1, 0)
    options = {"swapping": swapping, "swap_success": swap_success, "message_loss": message_loss}
    measured = [run(400.0, **options), run(800.0, **options)]
    for telemetry in measured:
        # 128 gaps with geometric distribution: a standard error of sqrt((1 - share) / 256)
        np.testing.assert_allclose(telemetry.headers.thinning, share, rtol=0.25)
    paid = np.mean([telemetry.sessions.mean_thinned_price for telemetry in measured])
    assert paid == pytest.approx(share @ SIGNALS, rel=0.06)
    assert measured[0].sessions.mean_price == pytest.approx(SIGNALS.sum())
    nacked = measured[0].sessions.nack_thinned_price
    assert np.isnan(nacked).all() if swap_success == 1.0 else (nacked < share @ SIGNALS).all()


@pytest.mark.parametrize("discipline", ["fifo", "fair"])
def test_nothing_is_lost_to_the_last_bit(discipline: str) -> None:
    s = qnum_gym.scenario("nsfnet", discipline=discipline)
    simulator = Simulator(s, 0)
    signals = np.random.default_rng(0).uniform(size=len(s.links))
    for rate in (5.0, 20.0, 1.0):
        simulator.set_controls(np.full(len(s.sessions), rate), np.full(len(s.links), 0.95), None, signals)
        telemetry = simulator.advance(20.0)
        assert (telemetry.headers.thinning == 1.0).all()
        np.testing.assert_array_equal(telemetry.sessions.mean_thinned_price, telemetry.sessions.mean_price)


def test_who_overtakes_is_no_loss() -> None:
    """Last in, first out: headers come in any order; the mean step of the highest number so far is one all the same."""
    telemetry = run(400.0, rate=60.0, discipline="lifo")
    assert telemetry.sessions.delivered[0] > 20_000
    assert (telemetry.headers.thinning <= 1.0).all()
    np.testing.assert_allclose(telemetry.headers.thinning, 1.0, atol=0.15)


def test_until_the_first_header_nothing_counts_as_lost() -> None:
    s = qnum_gym.scenario("chain")
    telemetry = Simulator(s, 0).telemetry()
    assert (telemetry.headers.thinning == 1.0).all()
    assert np.isnan(telemetry.sessions.mean_thinned_price).all()
