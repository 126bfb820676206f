"""Every scenario that cannot be is refused with file, field, value and what would be valid."""

import math
import pickle
from typing import Any

import pytest

import qnum_gym
from qnum_gym.scenarios import Link, LinkEvent, Node, Scenario, ScenarioError, Session

AB = {"a": "a", "b": "b", "length_km": 10}
BC = {"a": "b", "b": "c", "length_km": 20}
AC = {"source": "a", "destination": "c"}

# fields that differ from a valid scenario -> field, value and what is valid, as said in the message
REFUSED = {
    "negative length": ({"links": [{**AB, "length_km": -3}, BC]}, "links[0].length_km = -3: must be greater than or"),
    "length not finite": (
        {"links": [AB, {**BC, "length_km": math.inf}]},
        "links[1].length_km = inf: must be less than",
    ),
    "length is NaN": ({"links": [AB, {**BC, "length_km": math.nan}]}, "links[1].length_km = nan: must be a number"),
    "length missing": ({"links": [AB, {"a": "b", "b": "c"}]}, "links[1].length_km: missing"),
    "unknown key": (
        {"coherence_tme": 3},
        "coherence_tme: unknown key; did you mean 'coherence_time'? valid keys: name",
    ),
    "unknown key of a link": ({"links": [AB, {**BC, "lenght_km": 3}]}, "links[1].lenght_km: unknown key; did you mean"),
    "unknown key of a node": (
        {"nodes": ["a", "b", {"name": "c", "q": 1}]},
        "nodes[2].q: unknown key; valid keys: name",
    ),
    "unknown key of a session": ({"sessions": [{**AC, "with": 1}]}, "sessions[0].with: unknown key"),
    "unknown key of an event": ({"events": [{"time": 1, "link": "ab", "upp": True}]}, "events[0].upp: unknown key"),
    "unknown node of a link": ({"nodes": ["a", "b"]}, "links[1].b = 'c': unknown node; valid nodes: 'a', 'b'"),
    "unknown node of a session": (
        {"sessions": [{**AC, "destination": "d"}]},
        "sessions[0].destination = 'd': unknown node; valid nodes: 'a', 'b', 'c'",
    ),
    "unknown node of a path": (
        {"sessions": [{**AC, "path": ["a", "x", "c"]}]},
        "sessions[0].path = ['a', 'x', 'c']: 'x'",
    ),
    "node named twice": ({"nodes": ["a", "b", "c", "a"]}, "nodes[3].name = 'a': named already by nodes[0]"),
    "node name of a wrong kind": ({"nodes": ["a", "b", "c", True]}, "nodes[3].name = True: a node's name must be"),
    "disconnected session": (
        {"links": [AB, {"a": "c", "b": "d", "length_km": 1}]},
        "sessions[0].destination = 'c': no links connect it to the source 'a'",
    ),
    "path jumps": (
        {"sessions": [{**AC, "path": ["a", "c"]}]},
        "sessions[0].path = ['a', 'c']: must follow links; none",
    ),
    "path loops": (
        {"sessions": [{**AC, "path": ["a", "b", "a", "b", "c"]}]},
        "sessions[0].path = ['a', 'b', 'a', 'b', 'c']: must not pass a node twice",
    ),
    "path ends elsewhere": (
        {"sessions": [{**AC, "path": ["a", "b"]}]},
        "sessions[0].path = ['a', 'b']: must lead from",
    ),
    "source is destination": (
        {"sessions": [{**AC, "destination": "a"}]},
        "sessions[0].destination = 'a': must be another node than the source",
    ),
    "no sessions": ({"sessions": []}, "sessions = []: must have at least one entry"),
    "no links": ({"links": []}, "links = []: must have at least one entry"),
    "links no list": ({"links": AB}, "links = {'a': 'a', 'b': 'b', 'length_km': 10}: must be a list"),
    "session no mapping": (
        {"sessions": [7]},
        "sessions[0] = 7: must be a mapping with keys out of source, destination",
    ),
    "self-loop": ({"links": [AB, BC, {**BC, "b": "b"}]}, "links[2].b = 'b': must be another node than a"),
    "duplicate link": (
        {"links": [AB, BC, {"a": "b", "b": "a", "length_km": 5}]},
        "links[2] = ('b', 'a'): links[0] joins these nodes already",
    ),
    "p > 1 by capacity": (
        {"links": [{**AB, "capacity": 3000}, BC]},
        "links[0].capacity = 3000.0: an attempt on links[0] would succeed with probability 1.5 > 1 at w = 0.5; "
        "valid: capacity d <= 2000 or werner_range from 0.666667",
    ),
    "p > 1 by werner_range": (
        {"werner_range": [0.1, 0.99], "links": [{**AB, "length_km": 1}, BC]},
        "werner_range = [0.1, 0.99]: an attempt on links[0] would succeed with probability 1.319",
    ),
    "p > 1 by a link's werner_range": (
        {"links": [AB, {**BC, "length_km": 1, "werner_range": [0.1, 0.99]}]},
        "links[1].werner_range = [0.1, 0.99]: an attempt on links[1] would succeed",
    ),
    "faster than light": (
        {"cycle_time": 6e-5},
        "links[1].length_km = 20.0: light takes 0.0001 s, longer than an attempt's cycle_time of 6e-05 s; "
        "valid: length_km <= 12 or cycle_time >= 0.0001",
    ),
    "cycle_time below the clock's tick": (
        {"cycle_time": 0},
        "cycle_time = 0: must be greater than or equal to",
    ),
    "number as text": ({"cycle_time": "fast"}, "cycle_time = 'fast': must be a number"),
    "number as bool": ({"coherence_time": True}, "coherence_time = True: must be a number"),
    "count not whole": ({"memory": 2.5}, "memory = 2.5: must be a whole number"),
    "count too small": ({"window": 0}, "window = 0: must be greater than or equal to 1"),
    "coherence_time zero": ({"coherence_time": 0}, "coherence_time = 0: must be greater than or equal"),
    "coherence_time NaN": ({"coherence_time": math.nan}, "coherence_time = nan: must be a number"),
    "coupling above 1": ({"coupling": 1.5}, "coupling = 1.5: must be less than or equal to 1"),
    "attenuation negative": ({"attenuation": -0.2}, "attenuation = -0.2: must be greater than or equal to 0"),
    "swap never succeeds": ({"swap_success": 0}, "swap_success = 0: must be greater than or equal to 0.000000000001"),
    "message_loss certain": ({"message_loss": 1}, "message_loss = 1: must be less than 1"),
    "unknown measure": (
        {"measure": "key"},
        "measure = 'key': valid: negativity, secret_key, distillable, file.py:Name",
    ),
    "unknown discipline": ({"discipline": "FIFO"}, "discipline = 'FIFO': valid: fifo, lifo, fair, file.py:Name"),
    "unknown pacing": ({"pacing": "fast"}, "pacing = 'fast': valid: poisson, even"),
    "unknown swapping": ({"swapping": "nested"}, "swapping = 'nested': valid: sequential, parallel"),
    "falling range": ({"rate_range": [3, 1]}, "rate_range = [3, 1]: must be [lower, upper] with lower < upper"),
    "range of one": ({"werner_range": [0.9]}, "werner_range[1]: missing"),
    "range no list": ({"werner_range": 0.9}, "werner_range = 0.9: must be a list"),
    "Werner parameter of 1": (
        {"werner_range": [0.9, 1]},
        "werner_range[1] = 1: must be less than or equal to 0.999999999",
    ),
    "initial_rate outside": (
        {"initial_rate": 1e4},
        "initial_rate = 10000.0: must lie in the rate_range of sessions[0]",
    ),
    "initial_rate outside a session's": (
        {"sessions": [{**AC, "rate_range": [1, 2], "initial_rate": 3}]},
        "sessions[0].initial_rate = 3.0: must lie in the rate_range of sessions[0], [1.0, 2.0]",
    ),
    "initial_werner outside": (
        {"initial_werner": 0.4},
        "initial_werner = 0.4: must lie in the werner_range of links[0]",
    ),
    "initial_werner outside a link's": (
        {"links": [AB, {**BC, "werner_range": [0.8, 0.9], "initial_werner": 0.95}]},
        "links[1].initial_werner = 0.95: must lie in the werner_range of links[1], [0.8, 0.9]",
    ),
    "min_rate above rates": (
        {"sessions": [{**AC, "min_rate": 2000}]},
        "sessions[0].min_rate = 2000.0: must be at most",
    ),
    "min_fidelity unreachable": (
        {"sessions": [{**AC, "min_fidelity": 1}]},
        "sessions[0].min_fidelity = 1: must be less",
    ),
    "weight zero": (
        {"sessions": [{**AC, "weight": 0}]},
        "sessions[0].weight = 0: must be greater than or equal to 0.000000001",
    ),
    "stops before it starts": (
        {"sessions": [{**AC, "start": 5, "stop": 5}]},
        "sessions[0].stop = 5.0: must be later than the start at 5.0 s",
    ),
    "start not finite": ({"sessions": [{**AC, "start": math.inf}]}, "sessions[0].start = inf: must be less than"),
    "event before the start": ({"events": [{"time": -1, "link": "ab", "up": False}]}, "events[0].time = -1: must be"),
    "event for an unknown link": (
        {"events": [{"time": 1, "link": ["a", "c"], "up": False}]},
        "events[0].link = ['a', 'c']: unknown link; valid links: [['a', 'b'], ['b', 'c']]",
    ),
    "event for an unknown node": (
        {"events": [{"time": 1, "node": "x", "coherence_time": 3}]},
        "events[0].node = 'x': unknown node; valid nodes: 'a', 'b', 'c'",
    ),
    "event that does nothing": ({"events": [{"time": 1, "link": ["a", "b"]}]}, "must say extra_loss_db or up"),
    "event of an unknown kind": ({"events": [{"type": "flood", "time": 1}]}, "must be of type 'link', 'node'"),
    "event that gains light": (
        {"events": [{"time": 1, "link": ["a", "b"], "extra_loss_db": -3}]},
        "events[0].extra_loss_db = -3: must be greater than or equal to 0",
    ),
}


def fields(**changed):
    out = {"links": [AB, BC], "sessions": [AC], **changed}
    for event in out.get("events", []):
        if event.get("link") == "ab":
            event["link"] = ["a", "b"]
    return out


@pytest.mark.parametrize(("changed", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(changed, said):
    with pytest.raises(ScenarioError) as refusal:
        Scenario(**fields(**changed))
    assert str(refusal.value).startswith("scenario: ")
    assert said in str(refusal.value)


def test_the_valid_one_is_not_refused():
    Scenario(**fields())


def test_in_a_file_the_message_names_the_file(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("links: [{a: a, b: b, length_km: -3}]\nsessions: [[a, b]]\n")
    with pytest.raises(ScenarioError) as refusal:
        Scenario.from_yaml(path)
    assert str(refusal.value) == f"{path}: links[0].length_km = -3: must be greater than or equal to 0"


def test_all_problems_are_listed_at_once():
    with pytest.raises(ScenarioError) as refusal:
        Scenario(**fields(memory=0, links=[{**AB, "length_km": -1}, BC], pace="even"))
    lines = str(refusal.value).splitlines()
    assert lines[0] == "scenario: 3 problems"
    assert [line.strip().split(" = ")[0].split(":")[0] for line in lines[1:]] == [
        "links[0].length_km",
        "memory",
        "pace",
    ]


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(ScenarioError, match=r"(?s)21 problems.*links\[0\].*and 1 more"):
        qnum_gym.scenario("nsfnet", scale=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [\nb: 3", "line 2, column 5: not valid YAML: "),
        ("links: []\nlinks: []", "line 2, column 1: not valid YAML: key 'links' is given twice"),
        ("links: [{a: x, a: y}]", "line 1, column 16: not valid YAML: key 'a' is given twice"),
        ("", "None: must be a mapping"),
        ("- 3", "[3]: must be a mapping, the keys of a scenario"),
        ("links: 3\nsessions: [[a, b]]", "links = 3: must be a list"),
        (
            "links: [{a: on, b: x, length_km: 1}]\nsessions: [[x, y]]",
            "line 1, column 13: not valid YAML: on is text in YAML 1.2 and bool",
        ),
        ("3: 4\nlinks: []\nsessions: []", "line 1, column 1: not valid YAML: key 3 is no text"),
        ("when: 2020-99-99", "not valid YAML: 2020-99-99 is text in YAML 1.2 and timestamp"),
        ("!!python/object/apply:os.getcwd []", "tag '!!python/object/apply:os.getcwd'; valid"),
        ("links: *nowhere", "found undefined alias 'nowhere'"),
        ("\x00", "not valid YAML: unacceptable character"),
    ],
)
def test_text_that_is_no_scenario(tmp_path, text, said):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as refusal:
        Scenario.from_yaml(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert said in str(refusal.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml: No such file or directory; give the path of a scenario"):
        Scenario.from_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ScenarioError, match="Is a directory; give the path"):
        Scenario.from_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ScenarioError, match=r"latin\.yaml: not a text file in UTF-8"):
        Scenario.from_yaml(tmp_path / "latin.yaml")


MISSPELT: dict[str, Any] = {"source": "a", "destinaton": "b"}
ONE_END: dict[str, Any] = {"time": 1, "link": ("a",), "up": True}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Node(name="a", coherence_time=-1),
            "node: coherence_time = -1: must be greater than or equal to 0.000000001",
        ),
        (lambda: Link(a="a", b="b", length_km=-1), "link: length_km = -1: must be greater than or equal to 0"),
        (lambda: Session(**MISSPELT), "destinaton: unknown key; did you mean 'destination'?"),
        (lambda: LinkEvent(**ONE_END), "linkevent: link[1]: missing"),
        (lambda: Scenario(**fields()).arrays(-1.0), "time = -1.0: must be a finite number of seconds, at least 0"),
        (lambda: Scenario(**fields()).arrays(math.nan), "time = nan: must be"),
    ],
)
def test_parts_and_times_refuse_too(make, said):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011, the message is looked at below
        make()
    assert said in str(refusal.value)


def test_the_error_is_a_value_error_that_crosses_processes():
    error = ScenarioError("scenario: memory = 0: must be 1")
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
