"""Streams of networks to train on: another one for each episode."""

from qnum_gym.streams.stream import SIZE, Entry, Stream, resolve_network

__all__ = ["SIZE", "Entry", "Stream", "resolve_network"]
