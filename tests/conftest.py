"""What all tests share: no time limit per example (the first call compiles), the same examples in every run."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("qnum_gym", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("qnum_gym")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept between runs is no matter of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QNUM_GYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
