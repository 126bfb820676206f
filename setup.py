"""All else is in pyproject.toml; only this needs code: `agents/` at the top is the package `qnum_gym.agents`."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["qnum_gym", "qnum_gym.*"]),
        "qnum_gym.agents",
        *(f"qnum_gym.agents.{name}" for name in find_packages("agents")),
    ],
    package_dir={"qnum_gym.agents": "agents"},
)
