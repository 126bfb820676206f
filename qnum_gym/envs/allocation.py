"""`AllocationEnv`: resource allocation on a packet-level quantum network, one central agent (Gymnasium)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import error
from gymnasium.utils import seeding
from numpy.typing import ArrayLike, NDArray

from qnum_gym.envs.action import RATE_STEP, WERNER_STEP, ActionMap
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.envs.observations import ObservationSource, make_observation, of_one
from qnum_gym.envs.options import KEYWORDS, RENDER_MODES, Info, InfoKind, check_spaces, checked_render_mode, informs
from qnum_gym.envs.rendering.table import table
from qnum_gym.envs.rewards import DEFAULT, RewardSource, make_reward
from qnum_gym.envs.scores import Floats, Outcome
from qnum_gym.envs.spec import PlainSpec
from qnum_gym.envs.streamed import Streamed
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.scenarios.sources import Source, resolve
from qnum_gym.simulator import Controls, Simulator, Telemetry
from qnum_gym.simulator.sealing import open_seal, seal
from qnum_gym.simulator.turn import Turn, in_turn
from qnum_gym.streams import Stream, resolve_network


class AllocationEnv(PlainSpec, Streamed, gym.Env[Any, Any]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """Who may send how fast, and how good pairs each link makes: rate against fidelity on a quantum network.

    ## Description

    A packet-level quantum network runs a scenario: R sessions inject q-datagrams along fixed routes over L links, each
    link makes entangled pairs on demand, nodes swap them while memories decay, and destinations answer with ACKs
    (model.md §4; the setting is that of arXiv:2510.09371). Once per control interval a central agent sets every
    source's injection rate R_r and every link's Werner parameter w_l. Brighter links make more pairs and worse ones;
    fuller links keep pairs waiting while they decay. The aim is the greatest sum of utilities, log of rate times what a
    pair is worth (`secret_key` by default).

    ## Action Space

    Box(−1, 1, (R + L,), float32): the rates first, then the Werner parameters, in the scenario's order. With
    `signals=True` Box(−1, 1, (2R + 2L,)): then one header signal per source and one per link, as they are.

    - `action="step"`: each control moves from where it is, by at most `rate_step` in log R or `werner_step` in log(1 −
      w); 0 leaves it.
    - `action="level"`: −1 to 1 is the whole range, evenly in log R and in log(1 − w).
    - `action="discrete"`: MultiDiscrete([3] * (R + L)): 0, 1, 2 for −1, 0, 1 of "step": lower, hold, raise.
    - `action="single"`: Discrete(1 + 2 (R + L)): 0 holds all, 2 k + 1 lowers control k alone, and 2 k + 2 raises it.

    The last two have masks: `action_masks()` [3 (R + L)] or [1 + 2 (R + L)] (bool) says which choices may change
    something. Not those that move a control beyond its range, or that of a session that is off or of a link that is
    down. They are allowed all the same, and do nothing, or for later. `info["action_mask"]` is the same as int8.

    More is a higher rate or a better, rarer pair. Every action leads to controls within the scenario's `rate_range` and
    `werner_range`. NaN, a wrong shape or a value outside the space is a ValueError. `step_controls(controls)` is the
    same step in physical units.

    ## Observation Space

    Box(−1, 1, (16 R + 13 L,), float32): a row per session, then a row per link. Columns:

    | session | | link | |
    |---|---|---|---|
    | 0 rate | 8 delivered | 0 werner | 8 sojourn |
    | 1 signal | 9 werner | 1 signal | 9 announced |
    | 2 active | 10 elasticity | 2 capacity | 10 transit |
    | 3 paused | 11 utility | 3 utilisation | 11 sharing |
    | 4 window | 12 storage | 4 mean_queue | 12 header_signal |
    | 5 weight | 13 latency | 5 queue | |
    | 6 hops | 14 lost | 6 load | |
    | 7 goodput | 15 price | 7 lost | |

    `observation.SESSION_FEATURES` and `observation.LINK_FEATURES` say what each is. All are finite, and relative to the
    controller's own ranges and capacities.

    `observation="graph"`: a Dict for graph networks, which networks of different sizes can share. V nodes, and H hops
    of all routes together:

    | entry | | |
    |---|---|---|
    | `sessions`, `links` | (R, 16), (L, 13) float32 | the rows above |
    | `nodes` | (V, 7) float32 | `topology.NODE_FEATURES`: coherence, swap_success, gate_factor, degree, sources, … |
    | `session_nodes`, `link_nodes` | (R, 2), (L, 2) int64 | source and destination; the ends of a link |
    | `hops` | (H, 3) int64 | session, link, place of the link on the session's route; route after route |
    | `session_mask`, `link_mask`, `node_mask`, `hop_mask` | int8 | 1 where there is something |
    | `action_mask` | int8, as long as the action | 1 where an entry matters now, session on or link up |

    Where networks differ in size, R, L, V and H are those of the largest. A smaller network's rows come first, what is
    behind them is 0 in every entry, and what an action says there is ignored.

    Other observations: see `observations.py`, also for how to write one.

    ## Rewards

    "share" (default): the score gm / gm* over the last 20 intervals pooled (fewer at the start), gm the geometric mean
    of the sessions' R·f(W) as delivered, gm* that of the optimum for the sessions and links of that time (model.md §5,
    [ours]). So 0 is worth nothing and 1 the best there is by the formula; better pacing than the formula assumes may
    exceed 1. A broken fidelity floor or demand costs twice what keeping it costs the optimum, so it never pays. An
    episode's return ranks policies as the evaluation does.

    `info["rewards/session"]` [R] splits it: each session's own share of gm*, whose geometric mean weighted with the
    sessions' weights (times the part of the window that they counted) is the reward. A session counts while it is
    active and not hopeless: no link of its route is down, and alone in the network, with the best Werner parameters,
    its pairs are worth something. Hopeless sessions are named in a warning; where nobody counts the reward is 0.

    Other rewards by name (`rewards.REWARDS`): "log", the score's logarithm; "interval", the score of the last interval
    alone; "relative", utility on a scale that has `equal_share` at 0 and the optimum at 1, and no lower end. Or your
    own, see `rewards.py`.

    ## Starting State

    An empty network at time 0 with the scenario's initial rates and Werner parameters. `reset(seed=…)` seeds all
    randomness; `reset()` goes on to the next episode of that sequence. `reset(options={"scenario": …})` swaps the
    scenario for one with as many sessions and links (`observation="graph"`: one for which there is room).

    ## Episode End

    Never by itself. Truncated after the scenario's `episode_length` control intervals (200 unless given).

    ## Information

    Of `reset` and `step` alike, new arrays each time, nothing but the seed and the actions decides them. Keys are flat,
    group and name: `info["metrics/score"]`.

    - `metrics/…`: `time` (s); over the last 20 intervals `score` (gm / gm*: the geometric mean of R·f(W) as a share
      of the optimum's, less what broken floors and demands cost; NaN where no session can be served), `utility`,
      `geometric_mean` of R·f(W) (bit/s for `secret_key`), `rate` [R] of delivered pairs (1/s), `werner` [R] and
      `fidelity` [R] of those pairs (W = 0, F = ¼ where there was none), `fidelity_shortfall` [R] and `rate_shortfall`
      [R] (1/s), how far they stay below `min_fidelity` and `min_rate`, `age` [R] (s since the last delivery, mean over
      time), `mean_age` over sessions, `jain` (index of R·f(W)), `worst` R·f(W) and its `worst_session`, `waste` (pairs
      made over hops of those delivered; model.md §5.6), `requests` that ended and how many of them were `completed`,
      that is had all their pairs before their deadline, on average in `completion_time` (s); of the last interval
      `injected`, `delivered`, `dropped` [R] (counts), `latency` [R] (s, 0 where nothing was delivered), `age_now` [R]
      at its end (s, 0 where off), `queue` [L] (mean number at the link) and `utilisation` [L].
    - `controls/rates` [R] (1/s) and `controls/werner` [L] in force.
    - `rewards/session` [R]: see Rewards.
    - `cost`, for constrained learners: the sum over sessions of both shortfalls, each as a share of what was asked,
      over the reward's window; 0 if all floors and demands are kept, or there are none. The reward has them too, as
      said above. Pairs wasted are counted in `metrics/dropped`.

    `info="none"` leaves it empty, but for masks of choices, which saves the time.

    ## Arguments

    - `scenario`: a name of `qnum_gym.topologies.names()`, the path of a YAML file, a `Scenario`, or a mapping of its
      fields; or a `qnum_gym.Stream`, which draws another network for each episode.
    - `families`, in place of it: a stream of these families' first `size` (100) networks each; or of a split, "train".
    - `observation`: "flat" (default), "graph", an `ObservationKind` or its class, or where that is: "file.py:Class".
    - `reward`: see Rewards; a name, a `Reward` or its class, or where that is: "file.py:Class", "module:Class".
    - `action`: "step" (default), "level", "discrete" or "single"; `signals`: False; `rate_step`, `werner_step`: see
      Action Space.
    - `info`: "flat" (default) or "none": see Information.
    - `render_mode`: None, "ansi" (a table) or "rgb_array" (a picture, 720 × 1280).
    - any field of `Scenario`, which overrides the scenario's: `control_interval`, `episode_length`, `rate_range`,
      `coherence_time`, `measure`, `memory`, `simulator`, …; with a name also the parameters of its generator (`n`,
      `nodes`, `rows`, …).

    ```python
    env = gym.make("qnum_gym/Dumbbell-v0", sessions=5, coherence_time=50.0, action="level")
    ```

    Pickle, `copy.deepcopy` and `get_state`/`set_state` give exact continuations. Threads that use one environment take
    turns. After a step that was interrupted (Ctrl-C) the environment asks for `reset`.

    ## Version History

    - v0: first version.
    """

    metadata = {"render_modes": [*RENDER_MODES], "render_fps": 5}  # noqa: RUF012

    def __init__(
        self,
        scenario: Source | Stream = None,
        *,
        observation: ObservationSource = "flat",
        reward: RewardSource = DEFAULT,
        action: str = "step",
        signals: bool = False,
        rate_step: float = RATE_STEP,
        werner_step: float = WERNER_STEP,
        info: InfoKind = "flat",
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode)
        self._action_map = partial(
            ActionMap, kind=action, signals=signals, rate_step=rate_step, werner_step=werner_step
        )
        self._observation, self._reward = make_observation(observation), make_reward(reward)
        self._informs = informs(info)
        self._viewer: Any = None
        self._turn = Turn()
        found = resolve_network(scenario, overrides, KEYWORDS)
        self._stream = found if isinstance(found, Stream) else None
        self._sizes: Sizes | None = found.sizes if isinstance(found, Stream) else None
        self._install(found.first if isinstance(found, Stream) else found)
        self.action_space: Any = self._actions.space()  # of the kind of action
        self.observation_space = self._observation.space(self._env_batch.sizes, self._actions)

    # --- Gymnasium's interface ----------------------------------------------------------------------------------------

    @in_turn
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """Start an episode with an empty network and the scenario's initial controls.

        Args:
            seed: equal seeds give equal episodes, bit for bit; without one the next episode of the present sequence.
            options: {"scenario": name, path or Scenario} swaps the scenario, from this episode on; of a stream, for
                this episode.

        Raises:
            ValueError: an unknown option, or a scenario with another number of sessions or links (that does not fit,
                with `observation="graph"`). Nothing is changed then, nor by a seed that is none (gymnasium's Error).
        """
        if seed is not None:
            seeding.np_random(seed)
        self._swap({} if options is None else options)
        super().reset(seed=seed)
        self._intervals = -1  # until all is done
        self._telemetry = None
        if self._stream is None or "scenario" in (options or {}):
            self._env_batch.reset(0, int(self.np_random.integers(2**63)))
        else:
            self._begin(*self._stream.episode(self.np_random))
        observation, info = self.observe(), self._info()
        self._intervals = 0
        return observation, info

    def _begin(self, scenario: Scenario, seed: int) -> None:
        """An episode of a network, for which there is room."""
        if not self._observation.padded:
            check_spaces("scenario", scenario, self._env_batch.sizes)
        self._env_batch.replace(0, scenario, seed)
        self._actions.replace(0, scenario)
        self._scenario, self._viewer = scenario, None

    @in_turn
    def step(self, action: ArrayLike) -> tuple[Any, float, bool, bool, Info]:
        """Decode `action` and live through one control interval with it.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside the action space.
        """
        controls = self._actions.decode(action, self._env_batch.in_force)
        return self.step_controls(controls if self._env_batch.full else self._own(controls))

    @in_turn
    def step_controls(self, controls: Controls) -> tuple[Any, float, bool, bool, Info]:
        """`step` in physical units: what a policy's `Controls` go through.

        Raises:
            ValueError: a wrong shape, NaN, or a control outside the scenario's ranges.
        """
        if self._intervals < 0:
            raise error.ResetNeeded("call reset() before the first step(), and after one that was interrupted")
        c, intervals = controls, self._intervals
        self._intervals = -1  # until all is done
        try:
            self.simulator.set_controls(c.rates, c.werner, c.session_signals, c.link_signals)
        except (TypeError, ValueError):  # refused, nothing has changed
            self._intervals = intervals
            raise
        self._telemetry = None
        self._env_batch.advance()
        observation, info = self.observe(), self._info()
        self._intervals = intervals + 1
        truncated = self._intervals >= self._scenario.episode_length
        return observation, self._env_batch.rewards.item(0), False, truncated, info

    @in_turn
    def render(self) -> str | NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The present interval: a table ("ansi") or a picture [height, width, 3] ("rgb_array")."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render_mode; give one: gym.make(id, render_mode='rgb_array')")
            return None
        if self._intervals < 0:
            raise error.ResetNeeded("call reset() before render()")
        if self.render_mode == "ansi":
            return table(self._scenario, self.telemetry, self.outcome)
        if self._viewer is None:
            from qnum_gym.envs.rendering.viewer import Viewer  # matplotlib is slow to import

            self._viewer = Viewer(self._scenario)
        return self._viewer.picture(self.telemetry, self.outcome)

    def close(self) -> None:
        """Let go of the picture."""
        self._viewer = None

    def observe(self) -> Any:
        """The present observation, as the last reset or step gave it (new arrays)."""
        return of_one(self._observation(self._env_batch, self._actions), 0)

    def action_masks(self) -> NDArray[np.bool_]:
        """[choices] which choices may change something now (bool); see Action Space.

        Raises:
            ValueError: actions are no choices.
        """
        return self._actions.masks(*self._env_batch.movable)[0]

    # --- what goes on inside ------------------------------------------------------------------------------------------

    @property
    def scenario(self) -> Scenario:
        """What is simulated."""
        return self._scenario

    @property
    def env_batch(self) -> EnvBatch:
        """The engine: a batch of this one network."""
        return self._env_batch

    @property
    def actions(self) -> ActionMap:
        """What actions mean."""
        return self._actions

    @property
    def simulator(self) -> Simulator:
        """The packet-level network itself."""
        return self._env_batch.simulators[0]

    @property
    def telemetry(self) -> Telemetry:
        """What was measured in the last interval; before the first one, nothing."""
        if self._telemetry is None:
            self._telemetry = self.simulator.telemetry()
        return self._telemetry

    @property
    def outcome(self) -> Outcome:
        """What the last 20 intervals came to."""
        return self._env_batch.outcome(0)

    @property
    def row(self) -> Floats:
        """[10R + 9] what the last interval adds to a score, see `Score`."""
        return self._env_batch.rows[0]

    @property
    def encoder(self) -> ObservationEncoder:
        """How observations are laid out; it makes them of telemetry too, with a memory of its own."""
        return self._env_batch.encoders[0]

    @property
    def controls(self) -> Controls:
        """The controls in force (copies)."""
        return self.simulator.controls

    # --- state is data ------------------------------------------------------------------------------------------------

    @in_turn
    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies: network, random numbers, memory, scenario."""
        state = {
            "scenario": self._scenario,
            "intervals": self._intervals,
            "env_batch": self._env_batch.get_state(),
            "np_random": None if self._np_random is None else self._np_random.bit_generator.state,
            "np_random_seed": self._np_random_seed,
            "weights": self._stream and self._stream.weights,
        }
        return seal(state, "AllocationEnv")

    @in_turn
    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from an environment with the same spaces.

        Raises:
            StateError: the state is damaged. ValueError: it is of a scenario with another number of sessions or links.
                Nothing is changed then.
        """
        state = open_seal(state, "AllocationEnv")
        self._swap({"scenario": state["scenario"]})
        self._intervals = -1  # until all is done
        self._telemetry = None
        self._env_batch.set_state(state["env_batch"])
        self._np_random, self._np_random_seed = None, state["np_random_seed"]
        if state["np_random"] is not None:
            self._np_random = np.random.Generator(np.random.PCG64())
            self._np_random.bit_generator.state = state["np_random"]
        if self._stream is not None:
            self._stream.set_weights(state["weights"])
        self._intervals = state["intervals"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_viewer": None, "_telemetry": None}  # made anew when asked for

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _install(self, scenario: Scenario) -> None:
        """Everything that belongs to one scenario, or nothing if it is refused; no episode has begun."""
        sizes = self._sizes
        if sizes is not None and not self._observation.padded:
            check_spaces("options['scenario']", scenario, sizes)
            sizes = None if self._stream is None else sizes  # there may be more nodes and hops
        env_batch = EnvBatch([scenario], 1, self._reward, sizes)
        actions = self._action_map(scenario, sizes=env_batch.sizes)
        self._sizes = env_batch.sizes
        self._scenario, self._actions, self._env_batch = scenario, actions, env_batch
        self._telemetry: Telemetry | None = None
        self._intervals = -1
        self._viewer = None

    def _swap(self, options: Mapping[str, Any]) -> None:
        if not isinstance(options, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"options = {options!r:.80}; valid: a mapping")
        unknown = options.keys() - {"scenario"}
        if unknown:
            raise ValueError(f"options: {', '.join(map(repr, sorted(unknown)))} unknown; valid: 'scenario'")
        if "scenario" not in options:
            return
        new, old = resolve(options["scenario"], {}, KEYWORDS), self._scenario
        if new == old:
            return
        self._install(new)

    def _own(self, c: Controls) -> Controls:
        """The first rows, where there is room for a larger network."""
        n, m = self.encoder.sessions, self.encoder.links
        signals = (None if x is None else x[:k] for x, k in ((c.session_signals, n), (c.link_signals, m)))
        return Controls(c.rates[:n], c.werner[:m], *signals)

    def _info(self) -> Info:
        arrays = self._env_batch.info if self._informs else {}
        info: Info = {key: array[0].copy() if array.ndim > 1 else array.item(0) for key, array in arrays.items()}
        if self._actions.kind.choices:
            info["action_mask"] = self.action_masks().astype(np.int8)
        return info
