"""The simulator's state: flat record arrays, one record per entity, and nothing else.

Times are integer nanoseconds, `NEVER` stands for "not scheduled" and `NONE` for "no q-datagram". Everything that a run
depends on is in these arrays, so a copy of them is an exact continuation.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qnum_gym.physics.links import LINK_MODELS
from qnum_gym.physics.measures import MEASURES
from qnum_gym.registry import Registry
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, NONE, PACINGS, SIMULATORS, SWAPPINGS
from qnum_gym.scenarios.arrays import CHANGES, code

if TYPE_CHECKING:
    from qnum_gym.scenarios import Scenario

NEVER = (2**63 - 1) >> 3  # ns; leaves three bits of an int64 for the kind of event
SECOND = 1e9  # ns
CLOCK_END = 10**17  # ns: no simulation is longer, so that no time or waiting time can reach NEVER

# Kinds of event, in the order in which simultaneous ones happen (model.md §1).
CHANGE, FEEDBACK, TIMEOUT, HEADER, PAIR, INJECTION = range(6)
KINDS = ("change", "feedback", "timeout", "header", "pair", "injection")

# Why a q-datagram did not become a delivered pair.
OVERFLOW, CUTOFF, SWAP_FAILED, HEADER_LOST, ACK_LOST, TIMED_OUT = range(6)
REASONS = ("overflow", "cutoff", "swap_failed", "header_lost", "ack_lost", "timeout")

# What has become of a q-datagram: the codes of `settled`.
IN_FLIGHT, DELIVERED, DROPPED = range(3)  # dropped for a reason: DROPPED + its number
FATES = ("in_flight", "delivered", *REASONS)

# Where a q-datagram is: nowhere, without a qubit at its source, its header under way over its hop, its qubit waiting at
# the node before its hop, answered, or gone.
FREE, AT_SOURCE, CROSSING, HELD, RETURNING, LOST = range(6)

# Parallel swapping: what became of one link's part of a q-datagram: no pair yet, none will come, its pair is made, and
# is also swapped at the node where the part begins (at the source: just made). Sequential swapping knows no parts.
WHOLE, OPEN, VOID, MADE, JOINED = range(5)

# Simulators: the codes of `clock.simulator`.
PACKET, FLUID = range(len(SIMULATORS))

# Kinds of change. Where the scenario has one more, this file can't be imported.
CAPACITY, DECAY_RATE, ACTIVE, WEIGHT, LOG_WERNER_FLOOR, MIN_RATE, RATE_CAP = range(len(CHANGES))

INITIAL_TIMEOUT = 1e9  # ns before the first round trip was measured, as TCP does (RFC 6298) [ours]
GAP_GAIN = 1.0 / 128.0  # of the mean gap between sequence numbers, per header: a standard error of 6 % at most [ours]


POOL = 64  # q-datagrams that there is room for at first
CACHE_LINE = 64  # bytes: records begin and end on whole ones, so that an event touches as few as possible


def _dtype(*groups: tuple[str, str], whole_lines: bool = True) -> np.dtype[Any]:
    """A record: each group is (format, "names separated by spaces")."""
    packed = np.dtype([(name, form) for form, names in groups for name in names.split()], align=True)
    if not whole_lines:
        return packed
    fields = packed.fields or {}
    return np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, *_ in fields.values()],
            "offsets": [offset for _, offset, *_ in fields.values()],
            "itemsize": -(-packed.itemsize // CACHE_LINE) * CACHE_LINE,
        }
    )


def zeros(count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """`count` empty records that begin on a cache line."""
    raw = np.zeros(count * dtype.itemsize + CACHE_LINE, np.uint8)
    begin = -raw.ctypes.data % CACHE_LINE
    return raw[begin : begin + count * dtype.itemsize].view(dtype)


CLOCK = _dtype(
    ("i8", "now events free in_use next_change logged feedback_delay"),
    ("i8", "sources_stamp links_stamp"),  # whether headers carry signals of theirs: 1 once any were set
    ("i8", "swapping records"),  # code in SWAPPINGS; records that an injection may need
    ("i8", "recorded"),  # q-datagrams in the buffer of records now
    ("i8", "simulator"),  # code in SIMULATORS
    ("i8", "slots emptied"),  # of `State.answers`: how many; the last one emptied, counted from the start
    ("f8", "slot"),  # its length, s
    ("i8", "horizon rest"),  # all time asked for: whole ns, and what is left of one in units of 2^-62 ns
    ("f8", "message_loss seconds"),  # seconds: in the last advance
)
LINK = _dtype(  # first what every pair needs
    ("i8", "cycle latency"),  # of an attempt, of a header; ns
    ("f8", "signal hazard log_werner"),  # control; -log(1 - p_l) of an attempt; log w_l
    ("u8", "key draws"),  # random stream
    ("i8", "serving base done"),  # q-datagram in service, begin of the attempts still unaccounted, time of success
    ("f8", "remaining serving_log_werner"),  # of the unit exponential; of the pair that will come
    ("i8", "head tail last_session discipline"),  # waiting, in order of arrival; whom `fair` served last
    ("i8", "number changed"),  # at the link, in service included; since when
    ("i8", "arrivals generated departures busy"),  # measured since the last advance began
    ("f8", "area sojourn"),  # likewise, ns; sums that may be greater than an integer
    ("f8", "capacity werner"),  # d_l; control
    ("i8", "model"),  # code of the link model
    ("f8", "modes dark_count clicks"),  # its hardware
    ("i8", "drop_policy dropped"),
)
CHANNEL = _dtype(  # headers under way over a link in one direction; how many wait in the memory on that side (§4.6)
    ("i8", "next transit memory"), ("i4", "head tail"), whole_lines=False
)
SESSION = _dtype(
    ("i8", "source first_hop hops window cutoff pacing measure"),
    ("i4", "stored_at_ends until_ack"),  # of `rules.Hold`, 0 or 1
    ("f8", "rate signal"),  # controls in force
    ("f8", "asked rate_cap"),  # the rate that was asked for; in force is no more than the cap
    ("i4", "pairs served"),  # wanted, 0 for no number; delivered while it was on
    ("i8", "began ended"),  # when it came on last, and went off after that; NEVER: not yet
    ("f8", "weight log_werner_floor min_rate"),  # what the session wants: the simulator only tells its controller
    ("i4", "active paused"),
    ("i8", "unacked sequence next_injection base"),
    ("f8", "remaining"),  # of the injection's exponential
    ("i8", "feedback_head feedback_tail next_feedback timer_head timer_tail next_timeout"),
    ("f8", "rtt rtt_deviation"),  # ns; rtt < 0: not measured yet
    ("u8", "key draws swap_key swap_draws loss_key loss_draws"),
    ("i8", "fresh"),  # time of the last delivery, or since when the session is active
    ("i8", "injected delivered nacked timeouts arrived answer_hops"),
    ("f8", "latency round_trip werner worth log_werner decay price nack_price thinned_price nack_thinned_price"),
    ("f8", "age"),  # ∫ (now - fresh) dt while active, ns²
)
HOP = _dtype(
    ("i4", "session link direction node next_node index hops next_link"),
    ("i8", "back"),  # ns from `node` to the source
    ("f8", "decay_rate log_gate swap_success"),  # γ of the halves at source and next_node; of swapping at `node`
    ("i8", "seen arrivals"),  # time of the last header (NEVER: none yet); q-datagrams counted by the link
    ("i8", "headers sequence"),  # headers seen so far; highest sequence number among them, -1 for none
    ("f8", "gap"),  # mean step of the sequence number from one header to the next; 0: none yet
    ("f8", "rate header_signal source_decay"),  # what that header said
)
NODE = _dtype(("f8", "decay_rate"), whole_lines=False)
DATAGRAM = _dtype(
    ("i8", "session hop next prev joined stored due first"),
    ("f8", "log_werner decay decay_rate price thinned_price rate header_signal source_decay"),
    ("i1", "place outstanding settled delivered fate told"),  # told: what came before is known where the part begins
    ("i2", "lost_at"),  # hop of the route, once `settled` says why
    ("i8", "sequence injected completed deadline timer_next timer_prev"),
    ("i8", "lead behind ahead pending"),  # first part, which stands for all; neighbours; how much is under way in all
)
GAME = _dtype(("i8", "key leaf"), whole_lines=False)  # of the winner tree: key = time << 3 | kind of event
SCHEDULE = _dtype(("i8", "time kind index"), ("f8", "value"), whole_lines=False)
RECORD = _dtype(  # of a q-datagram that is over: times in ns (NEVER: did not happen); hop where it was lost, or NONE
    ("i8", "sequence injected first completed acked"), ("f8", "werner"), ("i4", "session"), ("i2", "hop fate")
)

# The fluid form (model.md §13). What a session has at the link of a hop, and answers under way: q-datagrams, and sums
# over them of W, log w, t (γ_a + γ_b), seconds since injection and since the first pair, the links' signals, and hops
# passed; on the way to a link also those that would be there had none been lost, and what headers say.
_SUMS = "amount werner log_werner decay latency round_trip price thinned_price hops"
TANK = _dtype(("f8", f"{_SUMS} origin rate signal"), whole_lines=False)
ANSWER = _dtype(("f8", _SUMS), whole_lines=False)
FLUID_LINK = _dtype(
    ("f8", "made content"),  # pairs/s at its w; q-datagrams at the link
    ("f8", "load out kept"),  # of a step: what is there and is expected; 1 - share that leaves: out/(1 + out), kept
    ("f8", "arrivals generated dropped"),  # less than a whole one, not counted yet
    whole_lines=False,
)
FLUID_HOP = _dtype(
    ("f8", "inflow"),  # 1/s in the last step
    ("f8", "stored crossing"),  # γ of both halves at the link, 1/s; the header's time to the next node, s
    ("f8", "log_werner kept"),  # of the link's pair and the swap; what W is times, these and the crossing
    ("f8", "arriving passing"),  # less than a whole one, not counted yet: come to the link, seen by it as headers
    whole_lines=False,
)
FLUID_SESSION = _dtype(
    ("f8", "unacked"),  # q-datagrams without an answer
    ("f8", "stored kept"),  # γ t of both halves until the ACK is back, and its exp(-γ t)
    ("f8", "delay"),  # s that an ACK takes
    ("f8", "injected arrived overflow swap_failed"),  # less than a whole one, not counted yet
    ("i8", "in_flight"),  # whole ones neither delivered nor dropped
    whole_lines=False,
)


# Columns of codes, by table: they are a process's own, and what goes from one to another goes by the names.
CODED: dict[tuple[str, str], Registry[Any]] = {
    ("clock", "swapping"): SWAPPINGS,
    ("clock", "simulator"): SIMULATORS,
    ("links", "discipline"): DISCIPLINES,
    ("links", "drop_policy"): DROP_POLICIES,
    ("links", "model"): LINK_MODELS,
    ("sessions", "pacing"): PACINGS,
    ("sessions", "measure"): MEASURES,
}


class State(NamedTuple):
    """All arrays of one network; the last axis lists the entities named."""

    clock: np.ndarray  # [1] CLOCK
    links: np.ndarray  # [L] LINK
    channels: np.ndarray  # [2 L] CHANNEL, link l towards b at 2 l, towards a at 2 l + 1
    sessions: np.ndarray  # [R] SESSION
    hops: np.ndarray  # [H] HOP, the routes one after the other
    nodes: np.ndarray  # [V] NODE
    datagrams: np.ndarray  # [pool] DATAGRAM, grown on demand
    schedule: np.ndarray  # [events] SCHEDULE
    drops: np.ndarray  # [R, REASONS] int64, since the last advance began
    tree: np.ndarray  # [2 n] GAME: winner tree over n leaves: links, sessions, the schedule
    log: np.ndarray  # [m, 4] int64: time, kind, entity, sequence number of each event; m = 0 unless traced
    records: np.ndarray  # [m] RECORD: buffer, of which `clock.recorded` are filled; m = 0 unless recorded
    # of the fluid form, without entries in the packet simulator
    fluid_links: np.ndarray  # [L] FLUID_LINK
    fluid_hops: np.ndarray  # [H] FLUID_HOP
    fluid_sessions: np.ndarray  # [R] FLUID_SESSION
    tanks: np.ndarray  # [H] TANK
    answers: np.ndarray  # [R * (slots + 1) * 2] ANSWER: ACK and NACK of each slot; in the last one what has come


def nanoseconds(seconds: Any) -> Any:
    """Seconds to the nearest whole ns (scalar or array); infinity, and what the clock can't count, become NEVER."""
    values = np.rint(np.minimum(np.asarray(seconds, dtype=float), float(NEVER)) * SECOND)  # no product overflows
    ever = values < float(NEVER)
    return np.where(ever, np.where(ever, values, 0.0).astype(np.int64), NEVER)


# The order numbers the streams: appending is safe, reordering changes every draw.
STREAMS = ("links", "injections", "swaps", "messages", "policy")


def stream_keys(seed: int, stream: str, count: int) -> np.ndarray:
    """Keys [count] uint64 of one kind of random stream; key i does not depend on `count`."""
    sequence = np.random.SeedSequence(seed, spawn_key=(STREAMS.index(stream),))
    return sequence.generate_state(count, np.uint64)


def build(scenario: Scenario, seed: int, *, log: int = 0) -> State:
    """The state at time 0, nothing drawn or scheduled yet, with room for a log of `log` events."""
    state = State(*(_copied(array) for array in unseeded(scenario)))._replace(log=np.zeros((log, 4), np.int64))
    state.links["key"] = stream_keys(seed, "links", len(state.links))
    for name, stream in (("key", "injections"), ("swap_key", "swaps"), ("loss_key", "messages")):
        state.sessions[name] = stream_keys(seed, stream, len(state.sessions))
    return state


def _copied(array: np.ndarray) -> np.ndarray:
    """A copy that begins on a cache line; as bytes, for NumPy would copy field by field."""
    copy = zeros(array.size, array.dtype)
    copy.view(np.uint8)[:] = array.reshape(-1).view(np.uint8)
    return copy.reshape(array.shape)


@lru_cache(maxsize=1024)
def unseeded(scenario: Scenario) -> State:
    """What is the same for every seed, to be copied: an episode begins often."""
    a = scenario.arrays(0.0)
    n_links, n_sessions, n_hops = len(a.capacity), len(a.source), len(a.hop_link)

    clock = zeros(1, CLOCK)
    clock["feedback_delay"] = nanoseconds(scenario.feedback_delay)
    clock["message_loss"] = scenario.message_loss
    clock["swapping"] = SWAPPINGS.code(scenario.swapping)
    clock["simulator"] = SIMULATORS.code(scenario.simulator)
    clock["records"] = np.diff(a.hop_start).max()

    links = zeros(n_links, LINK)
    links["cycle"], links["latency"] = nanoseconds(a.cycle_time), nanoseconds(a.latency)
    links["discipline"], links["drop_policy"] = a.discipline, a.drop_policy
    links["capacity"], links["model"] = a.capacity, a.link_model
    links["modes"], links["dark_count"], links["clicks"] = a.modes, a.dark_count, a.clicks
    links["werner"] = a.initial_werner
    links["done"] = NEVER
    for name in ("serving", "head", "tail", "last_session"):
        links[name] = NONE

    channels = zeros(2 * n_links, CHANNEL)
    channels["head"] = channels["tail"] = NONE
    channels["next"], channels["memory"] = NEVER, np.repeat(a.memory, 2)

    sessions = zeros(n_sessions, SESSION)
    sessions["source"], sessions["first_hop"], sessions["hops"] = a.source, a.hop_start[:-1], np.diff(a.hop_start)
    sessions["window"], sessions["cutoff"], sessions["pacing"] = a.window, nanoseconds(a.cutoff), a.pacing
    sessions["stored_at_ends"], sessions["until_ack"] = a.stored_at_ends, a.until_ack
    sessions["asked"], sessions["rate_cap"], sessions["measure"] = a.initial_rate, a.rate_cap, a.measure
    sessions["rate"] = np.minimum(a.initial_rate, a.rate_cap)
    for name in ("weight", "log_werner_floor", "min_rate", "pairs"):
        sessions[name] = getattr(a, name)
    sessions["began"], sessions["ended"] = np.where(a.active, 0, NEVER), NEVER
    sessions["active"], sessions["rtt"] = a.active, -1.0
    for name in ("feedback_head", "feedback_tail", "timer_head", "timer_tail"):
        sessions[name] = NONE
    for name in ("next_injection", "next_feedback", "next_timeout"):
        sessions[name] = NEVER

    hops = zeros(n_hops, HOP)
    hops["session"], hops["link"], hops["direction"] = a.hop_session, a.hop_link, a.hop_direction
    hops["node"], hops["next_node"], hops["index"] = a.hop_from, a.hop_to, a.hop_index
    hops["hops"] = sessions["hops"][a.hop_session]
    hops["next_link"] = np.where(a.hop_index + 1 < hops["hops"], np.roll(a.hop_link, -1), NONE)
    hops["seen"], hops["sequence"] = NEVER, -1
    latency = links["latency"][a.hop_link]
    before = np.concatenate([[0], np.cumsum(latency)])[:-1]
    hops["back"] = before - before[a.hop_start[a.hop_session]]

    hops["log_gate"], hops["swap_success"] = np.log(a.gate_factor[a.hop_from]), a.swap_success[a.hop_from]
    at_source, at_destination = (rates[a.hop_session] for rates in a.end_decay_rates)
    last = hops["index"] + 1 == hops["hops"]
    hops["decay_rate"] = at_source + np.where(last, at_destination, a.decay_rate[a.hop_to])

    nodes = zeros(len(a.decay_rate), NODE)
    nodes["decay_rate"] = a.decay_rate

    changes = scenario.changes()
    schedule = np.zeros(len(changes), SCHEDULE)
    schedule["time"] = nanoseconds([c.time for c in changes])
    schedule["kind"] = [code("kind", c.kind, CHANGES) for c in changes]
    schedule["index"] = [c.index for c in changes]
    schedule["value"] = [c.value for c in changes]

    leaves = 1
    while leaves < n_links + n_sessions + 1:
        leaves *= 2
    tree = zeros(2 * leaves, GAME)  # node k has children 2 k and 2 k + 1, the leaves come last
    tree["key"] = np.iinfo(np.int64).max
    tree["leaf"][leaves:] = np.arange(leaves)
    for k in range(leaves - 1, 0, -1):
        tree["leaf"][k] = tree["leaf"][2 * k]
    drops = np.zeros((n_sessions, len(REASONS)), np.int64)
    datagrams, log, records = zeros(0, DATAGRAM), np.zeros((0, 4), np.int64), zeros(0, RECORD)
    fluid = _fluid(scenario, clock, hops, latency) if clock["simulator"] == FLUID else (np.zeros(0),) * 5
    state = State(clock, links, channels, sessions, hops, nodes, datagrams, schedule, drops, tree, log, records, *fluid)
    return grow_datagrams(state, POOL)


STEP = 250_000_000  # ns: the fluid's steps are no longer [ours]
MOST_SLOTS = 4096


def _fluid(scenario: Scenario, clock: np.ndarray, hops: np.ndarray, latency: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays of the fluid form, empty, and in `clock` how answers are kept; latency: [H] of a header, ns."""
    sessions = zeros(len(scenario.sessions), FLUID_SESSION)
    last = hops["index"] + 1 == hops["hops"]
    sessions["delay"] = ((hops["back"] + latency)[last] + clock["feedback_delay"]) / SECOND
    longest, interval = float(sessions["delay"].max()), scenario.control_interval
    clock["slot"] = slot = max(interval / math.ceil(interval / (STEP / SECOND)), longest / MOST_SLOTS)
    clock["slots"] = slots = int((longest + STEP / SECOND) / slot) + 4
    links, own = zeros(len(scenario.links), FLUID_LINK), zeros(len(hops), FLUID_HOP)
    return links, own, sessions, zeros(len(hops), TANK), zeros(len(sessions) * (slots + 1) * 2, ANSWER)


def grow_datagrams(state: State, extra: int) -> State:
    """The same state with room for `extra` more q-datagrams (parallel swapping: links' parts of them)."""
    offset = len(state.datagrams)
    datagrams = zeros(offset + extra, DATAGRAM)
    datagrams[:offset] = state.datagrams
    datagrams["next"][offset:] = np.arange(offset + 1, offset + extra + 1)  # each names the next free one
    datagrams["next"][-1] = state.clock["free"][0] if offset else NONE
    datagrams["ahead"][offset:] = NONE
    state.clock["free"] = offset
    return state._replace(datagrams=datagrams)


COLUMNS = 27


def address_row(state: State, *tables: np.ndarray) -> np.ndarray:
    """[COLUMNS] int64: where the arrays are in memory and how long, as the kernel reads them; where two tables are."""
    counted = (state.links, state.sessions, state.hops, state.datagrams, state.schedule)
    sizes = [*(len(array) for array in counted), len(state.tree) // 2, len(state.log), len(state.records)]
    return np.array(
        [*(array.ctypes.data for array in state), *sizes, *(table.ctypes.data for table in tables)], np.int64
    )
