"""Werner algebra against density matrices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from qnum_gym.physics import werner as wn
from qnum_gym.physics.measures import value
from qnum_gym.validation.density import PAULIS, depolarise, swap_circuit, werner_of, werner_state


def test_the_order_of_swaps_does_not_matter() -> None:
    """Three pairs over four nodes (parallel swapping): each half counts with its own storage, whoever swaps first."""
    werners, keeps = (0.95, 0.8, 0.9), (0.97, 0.9, 0.99, 0.85, 0.93, 0.7)  # of the pairs, of their six halves
    first, second, third = (werner_state(w) for w in werners)
    expected = float(np.prod(werners) * np.prod(keeps))
    # node 1 swaps, while the third pair is still being made; the ends go on decohering
    for _, joined in swap_circuit(depolarise(depolarise(first, 0, 0.98), 1, keeps[1]), depolarise(second, 0, keeps[2])):
        waiting = depolarise(depolarise(joined, 0, keeps[0] / 0.98), 1, keeps[3])
        for _, rho in swap_circuit(waiting, depolarise(depolarise(third, 0, keeps[4]), 1, keeps[5])):
            assert werner_of(rho) == pytest.approx(expected, abs=1e-12)
    # node 2 swaps, while the first pair is still being made
    for _, joined in swap_circuit(depolarise(second, 1, keeps[3]), depolarise(depolarise(third, 1, 0.9), 0, keeps[4])):
        waiting = depolarise(depolarise(joined, 0, keeps[2]), 1, keeps[5] / 0.9)
        for _, rho in swap_circuit(depolarise(depolarise(first, 0, keeps[0]), 1, keeps[1]), waiting):
            assert werner_of(rho) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("w1", "w2"), list(product((0.0, 0.4, 0.93, 1.0), repeat=2)))
def test_swap_is_the_circuit(w1: float, w2: float) -> None:
    for probability, rho in swap_circuit(werner_state(w1), werner_state(w2)):
        assert probability == pytest.approx(0.25, abs=1e-12)
        assert werner_of(rho) == pytest.approx(wn.swap(w1, w2), abs=1e-12)


def test_storage_and_swap_is_the_circuit() -> None:
    """Two pairs stored for different times at nodes of different decay rates, then swapped, then stored again."""
    gamma = np.array([0.3, 0.05, 0.05, 1.7])
    pairs = []
    for w, (a, b), t in ((0.97, (0, 1), 0.2), (0.91, (2, 3), 0.45)):
        rho = depolarise(depolarise(werner_state(w), 0, np.exp(-gamma[a] * t)), 1, np.exp(-gamma[b] * t))
        assert werner_of(rho) == pytest.approx(wn.decay(w, t, gamma[a] + gamma[b]), abs=1e-12)
        pairs.append(rho)
    expected = wn.swap(wn.decay(0.97, 0.2, 0.35), wn.decay(0.91, 0.45, 1.75))
    for _, rho in swap_circuit(*pairs):
        rho = depolarise(depolarise(rho, 0, np.exp(-0.3 * 0.1)), 1, np.exp(-1.7 * 0.1))
        assert werner_of(rho) == pytest.approx(wn.decay(expected, 0.1, 2.0), abs=1e-12)


@pytest.mark.parametrize("basis", [1, 2, 3])
def test_who_measures_first_sees_the_correlation_of_w(basis: int) -> None:
    """`measure` on density matrices: the source measures its half at once, the middle node swaps later.

    What source and destination find is correlated as in a Werner pair of W = w₁ w₂ exp(−γ t), t the middle's wait, in
    every basis: a half that is measured decays no more (model.md §4.4)."""
    w1, w2, kept = 0.93, 0.88, float(np.exp(-0.3))
    pauli = PAULIS[basis]
    sign = float(np.real(np.trace(werner_state(1.0) @ np.kron(pauli, pauli))))  # of a perfect pair: ±1
    correlation = 0.0
    for outcome in (1.0, -1.0):  # of the source, at the creation of the first pair
        project = np.kron((np.eye(2) + outcome * pauli) / 2.0, np.eye(2))
        measured = depolarise(project @ werner_state(w1) @ project, 1, kept)  # not normalised: times its probability
        for probability, rho in swap_circuit(measured, werner_state(w2)):
            correlation += outcome * probability * float(np.real(np.trace(rho @ np.kron(np.eye(2), pauli))))
    assert correlation * sign == pytest.approx(w1 * w2 * kept, abs=1e-12)


def test_check_values() -> None:
    assert wn.fidelity(wn.werner(0.95) ** 4) == pytest.approx(0.819126, abs=5e-7)
    assert wn.fidelity(wn.decay(14 / 15, 0.5, 2.0)) == pytest.approx(0.507516, abs=5e-7)
    assert wn.fidelity(wn.decay(14 / 15, 0.5, 1.0)) == pytest.approx(0.674571, abs=5e-7)
    p, x = 0.1, 0.99  # a lone q-datagram over four links
    assert 0.95**4 * (p * x / (1 - (1 - p) * x)) ** 3 == pytest.approx(0.610268, abs=5e-7)
    assert wn.swap(0.9, 0.8, 0.99) == pytest.approx(0.9 * 0.8 * 0.99)
    assert wn.werner(wn.fidelity(0.3)) == pytest.approx(0.3)


def test_what_the_werner_pair_says_of_a_heralded_one() -> None:
    """The numbers of model.md §12, at F = 0.95: the state that an attempt makes, and the Werner pair of the same F."""
    f = 0.95
    psi = np.array([0, 1, 1, 0]) / np.sqrt(2)
    rho = f * np.outer(psi, psi) + (1 - f) * np.diag([0.0, 0.0, 0.0, 1.0])

    def entropy(probabilities: np.ndarray) -> float:
        p = probabilities[probabilities > 1e-15]
        return float(-np.sum(p * np.log2(p)))

    half = np.einsum("abcb->ac", rho.reshape(2, 2, 2, 2))
    transposed = rho.reshape(2, 2, 2, 2).transpose(0, 3, 2, 1).reshape(4, 4)
    x = np.kron([[1, 1], [1, -1]], [[1, 1], [1, -1]]) / 2.0  # both halves measured in the other basis
    unlike = np.diag(x @ rho @ x)[[1, 2]].sum()  # Psi+: unlike in one basis, alike in the other
    errors = (rho[0, 0] + rho[3, 3], unlike)
    of_state = {
        "negativity": -np.linalg.eigvalsh(transposed)[0],
        "distillable": entropy(np.linalg.eigvalsh(half)) - entropy(np.linalg.eigvalsh(rho)),
        "secret_key": 1.0 - sum(entropy(np.array([error, 1 - error])) for error in errors),
    }
    said = {"negativity": (0.4507, 0.4500), "distillable": (0.712, 0.634), "secret_key": (0.545, 0.578)}
    for measure, (heralded, stands_for_it) in said.items():
        assert of_state[measure] == pytest.approx(heralded, abs=5e-4)
        assert value(measure, wn.werner(f)) == pytest.approx(stands_for_it, abs=5e-4)
