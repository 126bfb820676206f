"""What all tests share: no time limit per example (the first call compiles), the same examples in every run."""

from hypothesis import settings

settings.register_profile("qnum_gym", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("qnum_gym")
