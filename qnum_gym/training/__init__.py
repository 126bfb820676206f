"""Training runs: configuration, algorithms, checkpoints that resume exactly, comparison. Its modules import torch."""
