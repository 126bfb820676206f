"""`qnum-gym corrections`: what a local policy does differently from QPrimalDual-DA, as a picture of its weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError

MOST = 10  # weights in a panel


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("policy", nargs="?", default="zoo/local", help="a local policy (default %(default)s)")
    parser.add_argument("--png", type=Path, default=Path("corrections.png"), metavar="FILE", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print all weights as JSON")


def command(arguments: argparse.Namespace) -> int:
    """Draw the weights of each correction, largest first, in units of what they add to a logarithm per interval."""
    from qnum_gym import agents
    from qnum_gym.agents.learned.local import (
        LINK_FEATURES,
        LINK_REACH,
        SOURCE_FEATURES,
        SOURCE_REACH,
        LocalPolicy,
        Network,
    )
    from qnum_gym.evaluation.style import INK, new_figure, save

    try:
        policy = agents.make(arguments.policy)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"policy {arguments.policy!r}: {error}") from None
    network = policy.network if isinstance(policy, LocalPolicy) else None
    if not isinstance(network, Network) or any(len(head) != 1 for head in network.heads):
        raise UsageError(f"policy = {arguments.policy!r}: valid: a local policy whose corrections are linear")
    (sources,), (links,) = network.heads
    panels = {
        "source: log R": (sources, SOURCE_FEATURES, SOURCE_REACH, 0),
        "source: log σ": (sources, SOURCE_FEATURES, SOURCE_REACH, 1),
        "link: log(1 − w)": (links, LINK_FEATURES, LINK_REACH, 0),
        "link: log λ": (links, LINK_FEATURES, LINK_REACH, 1),
    }
    figure, axes = new_figure(2, 2, width=9.0, height=6.4)
    weights: dict[str, dict[str, float]] = {}
    for panel, (title, ((matrix, bias), features, reach, knob)) in zip(axes.flat, panels.items(), strict=True):
        scale = float(reach[knob, 0])
        values = dict(zip(features, (matrix[:, knob] * scale).tolist(), strict=True)) | {"always": bias[knob] * scale}
        weights[title] = {name: float(value) for name, value in values.items()}
        shown = sorted(weights[title].items(), key=lambda item: -abs(item[1]))[:MOST][::-1]
        colours = ["#0072b2" if value > 0 else "#d55e00" for _, value in shown]
        panel.barh([name for name, _ in shown], [value for _, value in shown], color=colours, height=0.65)
        panel.locator_params(axis="x", nbins=5)
        panel.axvline(0.0, color=INK, lw=0.8)
        panel.set_title(f"{title}, at most {scale:g} per interval", fontsize=9, color=INK)
    common.named_for("--png", arguments.png, common.PICTURES)
    save(figure, arguments.png, f"What {policy.name!r} adds to QPrimalDual-DA's steps, per unit of each feature")
    if arguments.json:
        common.print_json(weights)
    else:
        print(arguments.png)
    return 0
