"""Policies: hand-made and learned alike, behind one interface. Imported as `qnum_gym.agents`."""
