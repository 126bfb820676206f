"""Results as people and programs read them: table, JSON, CSV, and the files of a comparison and of a leaderboard."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qnum_gym import files
from qnum_gym.envs.rendering.table import simulated_by, unit
from qnum_gym.evaluation.comparison import Results, reference_of, summaries
from qnum_gym.evaluation.leaderboard import Leaderboard
from qnum_gym.evaluation.statistics import Interval, few
from qnum_gym.evaluation.suite import SEEDS
from qnum_gym.evaluation.tables import aligned
from qnum_gym.physics.werner import fidelity

OTHERS = (  # of `Results`, how evenly and how well pairs are made use of, and requests in time
    *("jain", "worst", "mean_age", "waste"),
    *("requests", "completed", "completion_time"),
)


def as_json(results: Results) -> dict[str, Any]:
    """What `evaluate.py --json` prints: per policy score, geometric mean (1/s); by session rate (1/s), W, shortfalls.

    None where a number is not defined: a ratio to nothing, the score where there is no optimum.
    """
    rate, werner, reference = results.mean_rate(), results.mean_werner(), reference_of(results)
    policies: dict[str, Any] = {}
    for p, (name, summary) in enumerate(summaries(results).items()):
        policies[name] = {
            "score": _interval(summary.score),
            "geometric_mean": summary.geometric_mean.mean,
            "geometric_mean_ci95": _ends(summary.geometric_mean),
            "versus": {
                "policy": reference,
                "score_difference": _interval(summary.score_difference),
                "geometric_mean_ratio": _interval(summary.geometric_mean_ratio),
            },
            "rate": rate[p].tolist(),
            "werner": werner[p].tolist(),
            "fidelity_shortfall": results.fidelity_shortfall[p].mean(axis=0).tolist(),
            "rate_shortfall": results.rate_shortfall[p].mean(axis=0).tolist(),
            **{key: float(getattr(results, key)[p].mean()) for key in OTHERS},
            "worst_session": _most_often_worst(results, p),
            "age": results.age[p].mean(axis=0).tolist(),
        }
    return {"env": results.env, "policies": policies}


def _most_often_worst(results: Results, p: int) -> str | None:
    """The session that had least in most episodes; None where none counted."""
    counted = results.worst_session[p][results.worst_session[p] >= 0.0].astype(int)
    if not len(counted):
        return None
    session = results.scenario.sessions[int(np.argmax(np.bincount(counted)))]
    return f"{session.source}->{session.destination}"


def _interval(interval: Interval) -> dict[str, Any]:
    """None where the interval is not defined: a ratio to nothing."""
    defined = np.isfinite(interval.mean)
    return {"mean": interval.mean if defined else None, "ci95": _ends(interval) if defined else None}


def _ends(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def table(results: Results) -> str:
    """The comparison as aligned text, a line per policy."""
    reference = reference_of(results)
    rate, worth = results.mean_rate(), fidelity(results.mean_werner())
    broken, alpha = _broken(results) | _in_time(results), results.scenario.fairness
    mean = "gm" if alpha == 1.0 else f"CE of α = {alpha:g}"
    header = (
        "policy",
        "score",
        f"{mean} ({unit(results.scenario)})",
        f"{mean} / {reference}",
        "rate (1/s)",
        "fidelity",
        "Jain",
        "worst",
        "age (s)",
        "waste",
        *broken,
    )
    rows: list[Sequence[str]] = [header]
    for p, (name, summary) in enumerate(summaries(results).items()):
        own = name == reference
        rows.append(
            (
                name,
                f"{summary.score:.3f}" if np.isfinite(summary.score.mean) else "none",
                f"{summary.geometric_mean:.3f}",
                "1" if own else f"{summary.geometric_mean_ratio:.3f}",
                f"{rate[p].mean():.3f}",
                f"{worth[p].mean():.4f}",
                f"{results.jain[p].mean():.3f}",
                f"{results.worst[p].mean():.3f} ({_most_often_worst(results, p) or 'none'})",
                f"{results.mean_age[p].mean():.3g}",
                f"{results.waste[p].mean():.3f}",
                *(column[p] for column in broken.values()),
            )
        )
    caption = (
        f"{results.env}: {len(results.seeds)} paired seeds, second half of {results.scenario.episode_length} intervals "
        f"of {results.scenario.control_interval:g} s{simulated_by(results.scenario)}\n"
        "mean [95 % bootstrap interval over seeds]; "
        "rate and fidelity are means over all sessions, hopeless ones too; Jain's index and the worst of R·f(W); "
        "age: time since the last delivery; waste: pairs made over hops of those delivered. "
        f"Score: share of the optimum, {mean} / {mean}*, less what broken promises cost"
    )
    warning = "".join(f"\n\nWarning: {what}." for what in few(len(results.seeds), SEEDS))
    return f"{caption}\n\n{aligned(rows)}{warning}"


def _broken(results: Results) -> dict[str, list[str]]:
    """By column, for each policy, how often a promise that a session was made is broken, and by how much at most.

    Of all seeds and of the sessions that were promised anything; no column where none was.
    """
    promised = {
        "below min_fidelity": (
            results.fidelity_shortfall,
            [s.min_fidelity is not None for s in results.scenario.sessions],
        ),
        "below min_rate": (results.rate_shortfall, [s.min_rate > 0.0 for s in results.scenario.sessions]),
    }
    return {
        name: [
            f"{(own > 0.0).mean():.0%}, by up to {own.max():.3g}" if (own > 0.0).any() else "never"
            for own in shortfall[:, :, np.flatnonzero(chosen)]
        ]
        for name, (shortfall, chosen) in promised.items()
        if any(chosen)
    }


def _in_time(results: Results) -> dict[str, list[str]]:
    """By column, for each policy: of the requests that ended, how many had all their pairs, and how long they took."""
    if all(session.pairs is None for session in results.scenario.sessions):
        return {}
    ended, completed = results.requests.sum(axis=1), results.completed.sum(axis=1)
    times = (results.completed * results.completion_time).sum(axis=1)
    rows = zip(ended.tolist(), completed.tolist(), times.tolist(), strict=True)
    shown = [
        f"{done / n:.1%} of {n:g}, in {time / max(done, 1.0):.3g} s" if n else "none ended" for n, done, time in rows
    ]
    return {"requests in time": shown}


def as_csv(results: Results) -> str:
    """One row per policy and seed: score, geometric mean (1/s), each session's rate (1/s), W and shortfalls."""
    columns = {
        "rate": results.rate,
        "werner": results.werner,
        "fidelity_shortfall": results.fidelity_shortfall,
        "rate_shortfall": results.rate_shortfall,
        "age": results.age,
    }
    text = io.StringIO()
    writer = csv.writer(text)
    sessions = range(results.rate.shape[2])
    writer.writerow(
        ["policy", "seed", "score", "geometric_mean", *OTHERS, *(f"{name}_{r}" for name in columns for r in sessions)]
    )
    for p, name in enumerate(results.policies):
        for s, seed in enumerate(results.seeds):
            own = [getattr(results, name)[p, s] for name in ("score", "geometric_mean", *OTHERS)]
            numbers = [*own, *(number for values in columns.values() for number in values[p, s])]
            writer.writerow([name, seed, *(repr(float(number)) for number in numbers)])
    return text.getvalue()


FILES = ("table.txt", "seeds.csv", "results.json", "scenario.yaml", "comparison.png")


def save(results: Results, folder: Path) -> list[Path]:
    """Write table.txt, seeds.csv, results.json, scenario.yaml and comparison.png into `folder`; their paths."""
    from qnum_gym.evaluation.plots import draw_comparison  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    files.write(paths[0], table(results) + "\n")
    files.write(paths[1], as_csv(results))
    results.scenario.to_yaml(paths[3])
    draw_comparison(results, paths[4])
    files.write(paths[2], json.dumps(as_json(results), indent=2) + "\n")
    return paths


def save_leaderboard(leaderboard: Leaderboard, folder: Path) -> list[Path]:
    """Write leaderboard.md, scores.csv, leaderboard.json, profiles.png and families.png into `folder`; their paths."""
    from qnum_gym.evaluation.plots import draw_families, draw_profiles  # matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "leaderboard.md": leaderboard.markdown(),
        "scores.csv": leaderboard.csv(),
        "leaderboard.json": json.dumps(leaderboard.as_json(), indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        files.write(folder / name, text)
    draw_profiles(leaderboard, folder / "profiles.png")
    draw_families(leaderboard, folder / "families.png")
    return [folder / name for name in (*texts, "profiles.png", "families.png")]
