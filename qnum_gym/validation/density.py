"""Density matrices of pairs: Werner states, depolarising memories, and the circuit of a swap (16×16). [ours]"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.complexfloating[Any, Any]]

PAULIS: tuple[Matrix, ...] = (
    np.eye(2, dtype=complex),
    np.array([[0, 1], [1, 0]], dtype=complex),
    np.array([[0, -1j], [1j, 0]]),
    np.diag([1.0, -1.0]).astype(complex),
)
PHI_PLUS: Matrix = np.array([1, 0, 0, 1], dtype=complex) / np.sqrt(2)
BELL = [np.kron(np.eye(2), pauli) @ PHI_PLUS for pauli in PAULIS]


def werner_state(w: float) -> Matrix:
    """W |Φ⁺⟩⟨Φ⁺| + (1 − W) 1/4."""
    return w * np.outer(PHI_PLUS, PHI_PLUS) + (1 - w) * np.eye(4) / 4


def werner_of(rho: Matrix) -> float:
    """W of a density matrix.

    Raises:
        AssertionError: it is no Werner state.
    """
    w = float((4 * np.real(PHI_PLUS @ rho @ PHI_PLUS) - 1) / 3)
    np.testing.assert_allclose(rho, werner_state(w), atol=1e-14)
    return w


def depolarise(rho: Matrix, qubit: int, keep: float) -> Matrix:
    """The depolarising channel on one half, as a mixture of Paulis; `keep` shrinks its Bloch vector."""
    weights = [(1 + 3 * keep) / 4] + [(1 - keep) / 4] * 3
    halves: list[Matrix] = [np.kron(p, np.eye(2)) if qubit == 0 else np.kron(np.eye(2), p) for p in PAULIS]
    after = np.zeros_like(rho)
    for weight, k in zip(weights, halves, strict=True):
        after = after + weight * k @ rho @ k.conj().T
    return after


def swap_circuit(rho_ab: Matrix, rho_cd: Matrix) -> list[tuple[float, Matrix]]:
    """Bell measurement on b and c, Pauli correction on d: probability and state of (a, d) for each outcome."""
    rho: Matrix = np.kron(rho_ab, rho_cd)
    outcomes: list[tuple[float, Matrix]] = []
    for bell, pauli in zip(BELL, PAULIS, strict=True):
        project: Matrix = np.kron(np.kron(np.eye(2), bell.conj().reshape(1, 4)), np.eye(2))  # 16 -> 4
        unnormalised: Matrix = project @ rho @ project.conj().T
        trace: Any = np.trace(unnormalised)
        probability = float(trace.real)
        correct: Matrix = np.kron(np.eye(2), pauli.T)
        back: Matrix = correct.conj().T
        corrected: Matrix = correct @ unnormalised @ back
        outcomes.append((probability, corrected / probability))
    return outcomes
