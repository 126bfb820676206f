"""Nothing that moves may change what is computed: every case of the golden files is run again and compared."""

from __future__ import annotations

import pytest

from .measure import KINDS, differences, measured, stored

CASES = [(kind, name) for kind in KINDS for name in stored(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}/{name}" for kind, name in CASES])
def test_same_as_recorded(kind: str, name: str) -> None:
    lines = list(differences(stored(kind)[name], measured(kind, name), f"{kind}/{name}"))
    shown = "\n  ".join(lines[:20])
    assert not lines, f"{kind}/{name}: {len(lines)} numbers differ from tests/golden/{kind}.json\n  {shown}"
