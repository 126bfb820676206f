"""Training runs: configuration, PPO, checkpoints that resume exactly, comparison. Its modules import torch."""
