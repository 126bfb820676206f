"""Compare policies on paired seeds: python evaluate.py --help."""

from qnum_gym.cli.evaluate import main

if __name__ == "__main__":
    raise SystemExit(main())
