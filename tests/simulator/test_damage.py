"""A damaged or foreign state is one error, and leaves everything as it was: a seeded fuzz over all that has a state."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.parallel import AllocationParallelEnv
from qnum_gym.simulator import Simulator, StateError, sealing
from qnum_gym.simulator.sealing import digest, open_seal, seal

DUMBBELL = qnum_gym.scenario("dumbbell", initial_rate=40.0, message_loss=0.1)


def simulator() -> Simulator:
    made = Simulator(DUMBBELL, 1)
    made.advance(3.0)
    return made


def scalar() -> AllocationEnv:
    made = AllocationEnv(DUMBBELL)
    made.reset(seed=1)
    made.step(np.zeros(made.action_space.shape, np.float32))
    return made


def vector() -> AllocationVectorEnv:
    made = AllocationVectorEnv(2, DUMBBELL, threads=1)
    made.reset(seed=1)
    made.step(np.zeros(made.action_space.shape, np.float32))
    return made


def parallel() -> AllocationParallelEnv:
    made = AllocationParallelEnv(DUMBBELL)
    made.reset(seed=1)
    return made


def damage(state: Any, rng: np.random.Generator) -> str:
    """Change one thing in a state of nested mappings, lists and arrays; says what."""
    holders: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = value.keys() if isinstance(value, dict) else range(len(value))
        for key in keys:
            if not isinstance(value, tuple):
                holders.append((value, key))
            if isinstance(value[key], (dict, list, tuple)):
                walk(value[key])

    walk(state)
    holder, key = holders[rng.integers(len(holders))]
    value = holder[key]
    if rng.random() < 0.1 and isinstance(holder, dict):
        del holder[key]
        return f"{key} deleted"
    if not isinstance(value, np.ndarray) or value.size == 0 or value.dtype.itemsize == 0:
        new = [None, np.nan, -1, "", [], {}, 2**70, np.zeros(3), object()][rng.integers(9)]
        holder[key] = -1 if new is value else new  # None may have been there
        return f"{key} = {holder[key]!r}"
    array = value.copy()
    kind = rng.integers(6)
    if array.dtype.names and kind < 4:
        name = array.dtype.names[rng.integers(len(array.dtype.names))]
        place = rng.integers(array.size)
        old = array[name].reshape(-1)[place]
        new = np.array([np.nan if array.dtype[name].kind == "f" else 100.0, -2.0, 1e6, 2.0**31][kind])
        with np.errstate(invalid="ignore"):
            array.reshape(-1)[name][place] = new.astype(array.dtype[name])
        if array[name].reshape(-1)[place] == old:
            array.reshape(-1)[name][place] = old + 1
    elif kind == 4:
        array = np.concatenate([array, array])
    elif kind == 5 and not array.dtype.names:
        array = array.astype(np.float16 if array.dtype != np.float16 else np.float64)
    elif array.dtype.names:
        array = array[: len(array) // 2]
    else:
        flat = array.reshape(-1).view(np.uint8)
        flat[rng.integers(len(flat))] ^= np.uint8(1 << rng.integers(8))
    holder[key] = array
    return f"{key}: array"


@pytest.mark.parametrize("make", [simulator, scalar, vector, parallel])
def test_every_damage_is_refused_and_changes_nothing(make: Callable[[], Any]) -> None:
    own, other = make(), make()
    whole, rng = pickle.dumps(own.get_state()), np.random.default_rng(10)
    for case in range(400):
        state = pickle.loads(whole)
        what = damage(state, rng)
        try:
            own.set_state(state)
        except StateError as error:
            assert str(error).startswith("state")  # noqa: PT017  which case it was is said below
        else:
            pytest.fail(f"case {case}: {what}")
    assert digest(own.get_state()) == digest(other.get_state())
    own.set_state(pickle.loads(whole))
    assert digest(own.get_state()) == digest(other.get_state())


@pytest.mark.parametrize("make", [simulator, scalar, vector, parallel])
@pytest.mark.parametrize("junk", [None, 3, "state", {}, [], {"arrays": {}}, np.zeros(4)])
def test_what_is_no_state_is_refused(make: Callable[[], Any], junk: Any) -> None:
    with pytest.raises(StateError, match="no whole state; valid: what get_state"):
        make().set_state(junk)


def test_a_state_survives_copies_of_every_kind() -> None:
    original = simulator()
    state = original.get_state()
    by_field = {**state, "arrays": {name: np.array(array) for name, array in state["arrays"].items()}}
    for copied in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), by_field):
        again = Simulator(DUMBBELL)
        again.set_state(copied)
        assert again.get_state()["digest"] == state["digest"]


def test_a_state_of_another_scenario_is_refused() -> None:
    short, long = (qnum_gym.scenario("dumbbell", coherence_time=t) for t in (1.0, 1e6))
    with pytest.raises(StateError, match=r"state is of 'Simulator .*; valid: of 'Simulator"):
        Simulator(long).set_state(Simulator(short).get_state())
    vectors = [AllocationVectorEnv(1, s, threads=1) for s in (short, long)]
    for env in vectors:
        env.reset(seed=0)
    before = digest(vectors[1].get_state())
    with pytest.raises(StateError, match="state is of 'EnvBatch"):
        vectors[1].set_state(vectors[0].get_state())
    assert digest(vectors[1].get_state()) == before
    with pytest.raises(StateError, match="state is of 'AllocationEnv'; valid: of 'Simulator"):
        simulator().set_state(scalar().get_state())


def test_a_state_fits_a_scenario_that_runs_alike() -> None:
    """Names, weights, measures, lengths of episodes change nothing in the network."""
    same = DUMBBELL.replace(name="other", measure="negativity", episode_length=7, control_interval=0.5)
    Simulator(same).set_state(simulator().get_state())
    changed = [{"swapping": "parallel"}, {"feedback_delay": 0.1}, {"memory": 7}, {"rate_range": (0.5, 70.0)}]
    for fields in [*changed, {"events": [{"time": 1.0, "node": "left", "coherence_time": 3.0}]}]:
        with pytest.raises(StateError, match="state is of"):
            Simulator(DUMBBELL.replace(**fields)).set_state(simulator().get_state())


BOTH = r"state: made by 'qnum_gym 0.0.9 with records 0123'; valid: 'qnum_gym [0-9.]+ with records \w+'"


@pytest.mark.parametrize("make", [simulator, scalar, vector, parallel])
def test_states_and_pickles_of_another_version_are_refused(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make()
    with monkeypatch.context() as past:
        past.setattr(sealing, "version", lambda: "qnum_gym 0.0.9 with records 0123")
        state, whole = own.get_state(), pickle.dumps(own)
    with pytest.raises(StateError, match=BOTH):
        own.set_state(state)
    with pytest.raises(StateError, match=BOTH):
        pickle.loads(whole)
    del state["version"]
    with pytest.raises(StateError, match="made by 'a version that does not say which'; valid: 'qnum_gym"):
        own.set_state(state)


def test_an_encoder_takes_only_its_own_kind_of_state() -> None:
    env = scalar()
    sessions, links = env.encoder.get_state()
    for wrong in [(sessions[:1], links), (sessions, links[:, np.newaxis]), (sessions, None), (links, sessions)]:
        with pytest.raises(StateError, match="memory is"):
            env.encoder.set_state(wrong)


def test_seals_tell_contents_apart() -> None:
    values = [
        None,
        0,
        1,
        0.0,
        1.0,
        "1",
        "",
        [],
        {},
        [[]],
        [1, 2],
        [[1], 2],
        {"a": 1},
        {"b": 1},
        np.zeros(2),
        np.zeros(3),
    ]
    values += [np.zeros(2, np.int64), np.zeros((2, 1)), np.array([0.0, np.nan]), 2**80, float("nan"), [1, [2]]]
    assert len({digest(value) for value in values}) == len(values)
    assert digest((1, 2)) == digest([1, 2])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert open_seal(seal({"x": 1}, "me"), "me") == {"x": 1}
    with pytest.raises(TypeError, match="a set"):
        digest({1, 2})


def test_records_are_all_in_the_layout() -> None:
    """Whoever adds a record type adds it to the seal."""
    from qnum_gym.simulator import state

    kinds = {array.dtype for array in simulator().state if array.dtype.names}
    assert kinds == {
        getattr(state, name) for name in ("CLOCK", "LINK", "CHANNEL", "SESSION", "HOP", "NODE", "DATAGRAM")
    } | {
        state.GAME,
        state.SCHEDULE,
        state.RECORD,
    }
