"""Rules of the network from one file of somebody else's: in kernel, reference and all environments; what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnum_gym
from qnum_gym import optimum
from qnum_gym.envs import AllocationVectorEnv
from qnum_gym.registry import UnknownKind
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, PACINGS, SWAPPINGS, Rules
from qnum_gym.rules.pacings import Pacing
from qnum_gym.rules.swappings import Swapping
from qnum_gym.scenarios import Scenario, ScenarioError, Session
from qnum_gym.simulator import Reference, Simulator, kernel
from qnum_gym.simulator.sealing import open_seal, seal

from .networks import line, scenarios
from .test_reference import assert_equal_runs

MINE = '''
import numpy as np
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, NONE
from qnum_gym.simulator.kernel.random import uniform


class Longest:
    """The longest route first; of equals the oldest."""

    @staticmethod
    def compiled(s, l):
        best, most = NONE, 0
        g = s.links[l].head
        while g != NONE:
            hops = s.sessions[s.datagrams[g].session].hops
            if hops > most:
                best, most = g, hops
            g = s.datagrams[g].next
        return best

    @staticmethod
    def plain(link):
        return max(link.queue, key=lambda g: len(g.session.route))


class AnyOrder:
    """One of those who wait, drawn with the link's own stream."""

    @staticmethod
    def compiled(s, l):
        link = s.links[l]
        turn = min(int(uniform(link.key, link.draws) * link.number), link.number - 1)
        link.draws += np.uint64(1)
        g = link.head
        for _ in range(turn):
            g = s.datagrams[g].next
        return g

    @staticmethod
    def plain(link):
        return link.queue[min(int(link.stream.uniform() * len(link.queue)), len(link.queue) - 1)]


class Youngest:
    """The youngest that waits."""

    @staticmethod
    def compiled(s, l, h):
        last, g = NONE, s.links[l].head
        while g != NONE:
            hop = s.hops[s.datagrams[g].hop]
            if hop.index > 0 and hop.direction == s.hops[h].direction:
                last = g
            g = s.datagrams[g].next
        return last

    @staticmethod
    def plain(link, waiting):
        return waiting[-1] if waiting else None


def now_and_then(u):
    """Twelve of thirteen in a burst."""
    return 0.25 if u < 12.0 / 13.0 else 10.0
'''
CODES = (DISCIPLINES, DROP_POLICIES, PACINGS)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The file; its rules are registered by name too."""
    path = tmp_path_factory.mktemp("rules") / "mine.py"
    path.write_text(
        MINE
        + "\nDISCIPLINES.register('longest', Longest)\nDISCIPLINES.register('any_order', AnyOrder)\n"
        + "DROP_POLICIES.register('youngest', Youngest)\n"
    )
    before = {registry: registry.names() for registry in CODES}
    assert DISCIPLINES.find(f"{path}:Longest") is DISCIPLINES["longest"]
    yield str(path)
    for registry, names in before.items():
        for name in reversed(registry.names()):
            if name not in names:
                registry.remove(name)


@settings(deadline=None, max_examples=40)
@given(scenario=scenarios(), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_kernel_and_reference_agree_on_random_networks(
    mine: str, scenario: Scenario, seed: int, data: st.DataObject
) -> None:
    discipline = data.draw(st.sampled_from(["longest", "any_order", f"{mine}:Longest", "fair"]))
    policy = data.draw(st.sampled_from(["youngest", f"{mine}:Youngest", "push_out"]))
    pacing = data.draw(st.sampled_from([f"{mine}:now_and_then", "poisson"]))
    assert_equal_runs(scenario.replace(discipline=discipline, drop_policy=policy, pacing=pacing), seed, steps=5)


def test_gaps_are_those_of_the_pacing(mine: str) -> None:
    """Counted over windows of one mean gap, by hand: a burst of gaps of 1/4 between breaks of 10."""
    simulator = Simulator(line(1000.0, pacing=f"{mine}:now_and_then", window=10**6), 0, trace=True)
    simulator.set_controls(rates=[8.0])
    simulator.advance(2000.0)
    log = simulator.events_log()
    gaps = np.diff(log[log[:, 1] == 5][:, 0]) * 1e-9 * 8.0
    np.testing.assert_allclose(np.unique(np.round(gaps, 6)), [0.25, 10.0])
    assert np.mean(gaps < 1.0) == pytest.approx(12 / 13, abs=0.007)  # three standard errors of 16 000


def test_the_longest_route_is_served_first(mine: str) -> None:
    """Two sessions each ask for all that their common link can do: the longer one gets it, the other next to none."""
    s = line(100.0, 1000.0, window=1000).replace(sessions=[Session(source=0, destination=d) for d in (1, 2)])
    shares = {}
    for discipline in ("longest", "fair"):
        simulator = Simulator(s.replace(discipline=discipline), 0)
        simulator.set_controls(rates=[30.0, 30.0], werner=[0.9, 0.9])
        delivered = simulator.advance(100.0).sessions.delivered
        shares[discipline] = delivered[1] / delivered.sum()
    assert shares["longest"] > 0.98
    assert shares["fair"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.bits
def test_all_environments_have_the_same(mine: str) -> None:
    rules = {"discipline": "any_order", "drop_policy": f"{mine}:Youngest", "pacing": f"{mine}:now_and_then"}
    s = qnum_gym.scenario("dumbbell", memory=2, **rules)
    scalar: Any = gym.make("qnum_gym/Scenario-v0", scenario=s)
    parallel = qnum_gym.parallel_env("Scenario-v0", scenario=s)
    vector = AllocationVectorEnv(2, s)
    scalar.reset(seed=3)
    vector.reset(seed=[3, 4])
    parallel.reset(seed=3)
    for _ in range(4):
        action = np.full(scalar.action_space.shape, 0.9, np.float32)
        actions = {agent: np.full(parallel.action_space(agent).shape, 0.9, np.float32) for agent in parallel.agents}
        reward = scalar.step(action)[1]
        assert vector.step(np.array([action, action]))[1][0] == reward
        assert parallel.step(actions)[1][parallel.possible_agents[0]] == reward


def test_a_rule_registered_while_simulators_run_compiles_nothing_anew(mine: str) -> None:
    simulator = Simulator(qnum_gym.scenario("dumbbell"), 0)
    simulator.advance(1.0)
    compiled = list(kernel.advance.overloads.values())
    for source in ("g = s.links[l].head", "g = s.links[l].tail"):  # one after the other with the same code

        class Temporary:
            """One end of the queue."""

            compiled = staticmethod(_rule("compiled", f"def compiled(s, l):\n    {source}\n    return g"))
            plain = staticmethod(lambda link, end=0 if "head" in source else -1: link.queue[end])

        DISCIPLINES.register(source, Temporary)
        try:
            assert_equal_runs(qnum_gym.scenario("dumbbell", discipline=source, memory=3), 7, steps=3)
        finally:
            DISCIPLINES.remove(source)
    assert list(kernel.advance.overloads.values()) == compiled


def _rule(name: str, text: str):
    scope: dict = {}
    exec(text, scope)
    return scope[name]


def test_a_state_from_a_process_with_other_codes_goes_on(mine: str) -> None:
    """Codes are a process's own: the names decide."""
    s = qnum_gym.scenario("dumbbell", discipline="any_order", memory=3)
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[40.0] * 3)
    simulator.advance(5.0)
    state = simulator.get_state()
    arrays = open_seal(state, state["owner"])["arrays"]
    arrays["links"]["discipline"] = 0
    other = Simulator(s, 1)
    other.set_state(seal({"arrays": arrays}, state["owner"]))
    assert (other.advance(5.0).sessions.records == simulator.advance(5.0).sessions.records).all()


@pytest.mark.parametrize("registry", [DISCIPLINES, DROP_POLICIES], ids=lambda registry: registry.field)
def test_a_rule_without_one_of_its_forms_is_refused(registry: Rules) -> None:
    def rule(*arguments: object) -> None: ...

    whole = {"compiled": staticmethod(rule), "plain": staticmethod(rule), "__doc__": "All."}
    names = registry.names()
    for missing, message in [
        ("compiled", r"no compiled rule; valid: a static method compiled\(s, l"),
        ("plain", r"no plain rule; valid: a static method plain\(link"),
        ("__doc__", "no docstring"),
    ]:
        parts = {name: part for name, part in whole.items() if name != missing}
        with pytest.raises(ValueError, match=f"{registry.field} = 'half': {message}"):
            registry.register("half", type("Half", (), parts))
    assert registry.names() == names


def test_what_numba_cannot_compile_is_refused_at_construction() -> None:
    class Asks:
        """Opens a file."""

        @staticmethod
        def compiled(s, l):
            return open(l)

        @staticmethod
        def plain(link):
            return link.queue[0]

    DISCIPLINES.register("asks", Asks)
    try:
        with pytest.raises(ValueError, match="discipline = 'asks': numba cannot compile the rule"):
            Simulator(line(100.0, discipline="asks"))
    finally:
        DISCIPLINES.remove("asks")


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    for field, word, message in [
        ("discipline", "lifos", "discipline = 'lifos': did you mean 'lifo'"),
        ("discipline", f"{tmp_path}/none.py:Rule", "none.py fails: FileNotFoundError"),
        ("drop_policy", "head", "drop_policy = 'head': .*valid: drop_tail, push_out, .*file.py:Name"),
        ("swapping", "nested", "swapping = 'nested': .*valid: sequential, parallel"),
        ("pacing", "evenly", "pacing = 'evenly': did you mean 'even'[?] valid: poisson, even, .*file.py:Name"),
    ]:
        fields: dict[str, Any] = {field: word}
        with pytest.raises(ScenarioError, match=message):
            line(100.0, **fields)
    with pytest.raises(UnknownKind):
        SWAPPINGS.code("nested")


@pytest.mark.parametrize(
    ("gap", "message"),
    [
        (lambda u: 2.0, "gaps are 2 on average; valid: 1"),
        (lambda u: -u, r"gap\(.*\) = -.*; valid: finite, at least 0"),
        (lambda u: 0.5 / u if u > 1e-9 else math.inf, r"gap\(.*\) = inf; valid: finite"),
        (lambda u: u.no, "its gap fails: AttributeError"),
    ],
)
def test_pacings_that_cannot_be(gap: Callable[[float], float], message: str) -> None:
    with pytest.raises(ValueError, match=f"pacing = 'wrong': {message}"):
        Pacing("wrong", gap)


def test_a_kind_of_swapping_without_rules_or_formulas_is_refused() -> None:
    """Neither the simulators nor the solver take it for one that they know."""
    SWAPPINGS.register("nested", Swapping("Halves of the route, then their halves."))
    try:
        s = line(100.0, 100.0, swapping="nested")
        with pytest.raises(ValueError, match="'nested': no rules in the kernel; valid: sequential, parallel"):
            Simulator(s)
        with pytest.raises(ValueError, match="swapping = 'nested'; valid for Reference: 'sequential'"):
            Reference(s)
        with pytest.raises(ValueError, match=r"'nested': no formula for its E\[W\]; valid: sequential, parallel"):
            optimum.solve(s)
    finally:
        SWAPPINGS.remove("nested")
