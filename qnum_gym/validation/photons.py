"""One attempt with single photons, enumerated: density matrices of two memories and their optical modes. [ours]"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.complex128]


def lossy(eta: float) -> list[Matrix]:
    """Kraus operators, on photon numbers 0, 1 and 2 of one mode, of a fibre that lets one photon through with eta."""
    operators: list[Matrix] = []
    for lost in range(3):
        k = np.zeros((3, 3), complex)
        for n in range(lost, 3):
            k[n - lost, n] = math.sqrt(math.comb(n, lost) * eta ** (n - lost) * (1 - eta) ** lost)
        operators.append(k)
    return operators


def beam_splitter() -> Matrix:
    """50:50 on the modes' photon numbers (9 x 9), exact up to two photons in all."""
    u = np.zeros((9, 9), complex)
    for m, n in itertools.product(range(3), repeat=2):
        if m + n > 2:
            continue
        for i, j in itertools.product(range(m + 1), range(n + 1)):  # photons of either mode that go to the first output
            out, rest = i + j, m + n - i - j
            amplitude = math.comb(m, i) * math.comb(n, j) * (-1) ** (n - j) / math.sqrt(2.0 ** (m + n))
            scale = math.sqrt(math.factorial(out) * math.factorial(rest) / (math.factorial(m) * math.factorial(n)))
            u[3 * out + rest, 3 * m + n] += amplitude * scale
    return u


def click(detectors: str, delta: float) -> tuple[Matrix, Matrix]:
    """Of one detector, on photon numbers: that nothing is seen, and that exactly one click is."""
    resolving = detectors == "resolving"
    nothing = [1 - delta, 0, 0]
    once = [delta, 1 - delta, 0] if resolving else [delta, 1, 1]
    return np.diag(nothing).astype(complex), np.diag(once).astype(complex)


def enumerated(alpha: float, eta: float, detectors: str, delta: float) -> tuple[float, float]:
    """p and F of one attempt."""
    end = np.zeros(6, complex)  # memory (dark, bright) x photon number
    end[0], end[4] = math.sqrt(1 - alpha), math.sqrt(alpha)
    state = np.kron(end, end).reshape(2, 3, 2, 3).transpose(0, 2, 1, 3).reshape(4, 9)  # memories x modes
    splitter, (nothing, once) = beam_splitter(), click(detectors, delta)
    p = good = 0.0
    for a, b in itertools.product(lossy(eta), repeat=2):
        modes = state @ (splitter @ np.kron(a, b)).T  # pure, for each way to lose photons
        for sign, seen in ((1, np.kron(once, nothing)), (-1, np.kron(nothing, once))):
            rho = modes @ seen @ modes.conj().T  # of the memories, not normalised
            bell = np.array([0, 1, sign, 0]) / math.sqrt(2)
            p += np.trace(rho).real
            good += (bell @ rho @ bell).real
    return float(p), float(good / p)


def double_click(eta: float) -> tuple[float, float]:
    """p and F of one attempt with two time bins: each end sends one photon, early or late, entangled with its memory.

    A success is one click in each bin; number-resolving detectors without dark counts. F is that to the best Bell
    state, given which detectors clicked.
    """
    end = np.zeros((2, 3, 3), complex)  # memory x early x late photons
    end[0, 1, 0] = end[1, 0, 1] = math.sqrt(0.5)
    state = np.einsum("aij,bkl->abikjl", end, end).reshape(4, 9, 9)  # memories x early modes x late modes
    splitter, (nothing, once) = beam_splitter(), click("resolving", 0.0)
    clicks = (np.kron(once, nothing), np.kron(nothing, once))
    p = good = 0.0
    for kraus in itertools.product(lossy(eta), repeat=4):
        early, late = (splitter @ np.kron(*kraus[i : i + 2]) for i in (0, 2))
        modes = np.einsum("xi,yj,mij->mxy", early, late, state)
        for (i, first), (j, second) in itertools.product(enumerate(clicks), repeat=2):
            rho = np.einsum("mxy,xu,yv,nuv->mn", modes, first, second, modes.conj())
            bell = np.array([0, 1, 1 if i == j else -1, 0]) / math.sqrt(2)
            p += float(np.trace(rho).real)
            good += float((bell @ rho @ bell).real)
    return p, good / p
