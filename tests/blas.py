"""The tests that compare bits, under each kernel of OpenBLAS that this processor can run: `make test-blas`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

UMATH = import_module("numpy._core._multiarray_umath")
FEATURES, DISPATCHED = UMATH.__cpu_features__, UMATH.__cpu_dispatch__
FILES = [str(path) for path in Path(__file__).parent.rglob("test_*.py") if "mark.bits" in path.read_text("utf-8")]
NEEDS = {  # kernel -> what it needs of the processor, in NumPy's names
    "Prescott": ("SSE3",),
    "Haswell": ("AVX2", "FMA3"),
    "Zen": ("AVX2", "FMA3"),
    "SkylakeX": ("AVX512F", "AVX512CD", "AVX512BW", "AVX512DQ", "AVX512VL"),
}
SETTINGS = [  # each kernel, with one thread or two, and NumPy without its code for AVX2 and more
    {"OPENBLAS_CORETYPE": "Prescott", "OMP_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Zen", "OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "SkylakeX", "OMP_NUM_THREADS": "1"},
    {"NPY_DISABLE_CPU_FEATURES": "X86_V3", "OMP_NUM_THREADS": "1"},
]


def missing(setting: dict[str, str]) -> list[str]:
    """What the setting needs and this processor, or this NumPy, does not have."""
    if (kernel := setting.get("OPENBLAS_CORETYPE")) is not None:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
        return (
            [what for what in NEEDS[kernel] if not FEATURES.get(what)] if "openblas" in blas else [f"OpenBLAS ({blas})"]
        )
    disabled = setting.get("NPY_DISABLE_CPU_FEATURES")
    return [disabled] if disabled and disabled not in DISPATCHED else []


def main() -> int:
    """Run them all; the last line says which passed."""
    results: dict[str, str] = {}
    for setting in SETTINGS:
        name = " ".join(f"{key}={value}" for key, value in setting.items())
        if lacking := missing(setting):
            results[name] = f"not run: no {', '.join(lacking)} here"
        else:
            print(f"--- {name}", flush=True)
            command = [sys.executable, "-m", "pytest", "-q", "-m", "bits", *sys.argv[1:], *FILES]
            run = subprocess.run(command, env=os.environ | setting)
            results[name] = "failed" if run.returncode else "passed"
    for name, result in results.items():
        print(f"{name}: {result}")
    return int("failed" in results.values() or "passed" not in results.values())


if __name__ == "__main__":
    sys.exit(main())
