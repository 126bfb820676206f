"""The learning curve of one or several runs as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qnum_gym.evaluation import Results
from qnum_gym.evaluation.style import DASHED, look, name_curves, new_figure, save
from qnum_gym.labels import plain


def draw_curves(curves: Mapping[str, Sequence[Mapping[str, float]]], references: Results, path: Path) -> None:
    """Draw scores over steps, with the references' mean scores on the same seeds; nothing where none was evaluated.

    Args:
        curves: name -> rows of `TrainingCallback.history`.
        references: on the seeds of the evaluations.
        path: of the picture, in the format of its suffix (PNG, PDF, SVG).
    """
    if not any(curves.values()):
        return
    figure, ((axes,),) = new_figure(1, 1, width=7.5, height=4.2)
    for name, rows in curves.items():
        colour, marker = look(name, list(curves))
        steps, scores, lows, highs = (
            [row[key] for row in rows] for key in ("steps", "score", "score_low", "score_high")
        )
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.15, lw=0.0)
        axes.plot(steps, scores, color=colour, lw=1.6, marker=marker, ms=4.0, label=plain(name))
    for name, score in zip(references.policies, references.score.mean(axis=1).tolist(), strict=True):
        axes.axhline(score, color=look(name, references.policies)[0], lw=1.1, ls=DASHED, label=plain(name))
    axes.set_xlabel("control intervals in all environments together")
    axes.set_ylabel("score (share of the optimum)")
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    name_curves(figure, [axes])
    seeds = len(references.seeds)
    save(figure, path, f"{plain(references.env)}: mean over {seeds} evaluation seeds, band 95 %")
