"""What the fields of a link say of its hardware: capacity, what an attempt depends on, and the w that can be set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qnum_gym.physics.links import DETECTORS, LINK_MODELS, Hardware, LinkModel
from qnum_gym.scenarios.fields import Link, LinkEvent, ScenarioFields, either

MOST_SUCCESS = 0.99


def model_of(scenario: ScenarioFields, link: Link) -> LinkModel:
    """The link's model."""
    return LINK_MODELS[either(link.link_model, scenario.link_model)]


def capacity(scenario: ScenarioFields, link: Link) -> float:
    """d = 3 m c eta / (2 T) with eta = 10^(-0.1 beta L / 2), or m p / T where p is given, pairs/s (model.md §2).

    Or what the link itself says.
    """
    if link.capacity is not None:
        return link.capacity
    cycle_time, modes = either(link.cycle_time, scenario.cycle_time), either(link.modes, scenario.modes)
    success = either(link.attempt_success, scenario.attempt_success)
    if success is not None and "attempt_success" in model_of(scenario, link).uses:
        return modes * success / cycle_time
    attenuation = either(link.attenuation, scenario.attenuation)
    coupling = either(link.coupling, scenario.coupling)
    transmissivity = 10.0 ** (-0.1 * attenuation * link.length_km / 2.0)
    return modes * (3.0 * coupling * transmissivity / (2.0 * cycle_time))


def hardware(scenario: ScenarioFields, link: Link, d: float) -> Hardware:
    """What its model is told, at capacity d."""
    cycle_time, modes = either(link.cycle_time, scenario.cycle_time), either(link.modes, scenario.modes)
    clicks = DETECTORS[either(link.detectors, scenario.detectors)]
    return Hardware(d * cycle_time / modes, either(link.dark_count, scenario.dark_count), clicks)


def werner_range(scenario: ScenarioFields, link: Link) -> tuple[float, float]:
    """The w that can be set: its `werner_range`, as far as its model holds with all light that events leave it.

    With several modes it begins where p_m is 0.99 or less: below, light costs fidelity and makes next to nothing.

    `initial_werner` alone where the model has no knob. Where no w will do, the lowest is not below the highest.
    """
    model = model_of(scenario, link)
    if not model.knob:
        initial = either(link.initial_werner, scenario.initial_werner)
        return initial, initial
    low, high = either(link.werner_range, scenario.werner_range)
    modes = either(link.modes, scenario.modes)
    for d in capacities(scenario, link):
        x = hardware(scenario, link, d)
        least, most = model.span(x)
        low, high = max(low, least), min(high, most)
        enough = 1.0 - (1.0 - MOST_SUCCESS) ** (1.0 / modes)  # p of one mode
        if modes > 1 and low < high and model.success(low, x) > enough:
            low = float(model.werner(np.array(enough / x.chance), x))
    return low, high


def capacities(scenario: ScenarioFields, link: Link) -> Iterator[float]:
    """d undamaged, and after each event that takes light away."""
    d = capacity(scenario, link)
    yield d
    for event in scenario.events:
        if isinstance(event, LinkEvent) and event.extra_loss_db and set(event.link) == {link.a, link.b}:
            yield model_of(scenario, link).lossy(d, event.extra_loss_db)
