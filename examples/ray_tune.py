"""Ray Tune: constants of `qprimaldual` chosen on Dumbbell, trials side by side; its score before and after.

The paper's controllers fill links to 0.95; where memories decay, that is far too much. Each trial is an evaluation in a
Ray worker. Numbers depend on policy, network and seeds alone, so a trial comes to the same bits on any worker. Seeds
that chose are not those that judge.
"""

# pyright: reportMissingImports=false
import sys
import tempfile

import numpy as np
import ray
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

import qnum_gym
from qnum_gym import agents, evaluation

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
POLICY, NETWORK, CHOOSE, JUDGE = "qprimaldual", "dumbbell", range(100, 106), range(20)


def score(gains: dict[str, float], seeds: range) -> np.ndarray:
    """[S] scores of the policy with these constants, a share of the optimum each."""
    policy = agents.make(POLICY, **gains)
    return evaluation.evaluate(qnum_gym.scenario(NETWORK), {POLICY: policy}, seeds).score[0]


def trial(gains: dict[str, float]) -> dict[str, float]:
    """What Tune looks at."""
    return {"score": float(score(gains, CHOOSE).mean())}


space = {
    "utilisation": tune.uniform(0.3, 0.98),
    "gain": tune.loguniform(0.1, 0.6),
    "damping": tune.loguniform(0.3, 1.0),
}
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
tuner = tune.Tuner(
    trial,
    param_space=space,
    tune_config=tune.TuneConfig(
        metric="score", mode="max", num_samples=TRIALS, search_alg=BasicVariantGenerator(random_state=0)
    ),
    run_config=tune.RunConfig(verbose=0, storage_path=tempfile.mkdtemp()),  # the example leaves nothing in the home
)
best = tuner.fit().get_best_result().config
ray.shutdown()
print({name: round(value, 4) for name, value in best.items()})
before, after = score({}, JUDGE), score(best, JUDGE)
gain = evaluation.statistics.difference(after, before)
print(f"gained {gain:.3f} on {len(JUDGE)} other seeds")
print(f"score before {before.mean():.3f}, after {after.mean():.3f}")
