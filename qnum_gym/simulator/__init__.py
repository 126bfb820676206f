"""The packet-level network; knows no gymnasium."""

from qnum_gym.simulator.batch import Batch
from qnum_gym.simulator.reference import ParallelReference, Reference
from qnum_gym.simulator.sealing import StateError
from qnum_gym.simulator.simulator import Simulator
from qnum_gym.simulator.telemetry import Controls, JoinedTelemetry, Telemetry

__all__ = [
    "Batch",
    "Controls",
    "JoinedTelemetry",
    "ParallelReference",
    "Reference",
    "Simulator",
    "StateError",
    "Telemetry",
]
