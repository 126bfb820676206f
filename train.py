"""Train a policy from a configuration: python train.py --help."""

from qnum_gym.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main())
