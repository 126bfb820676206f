"""Other simulators on our five-node chain. `*_chain.py` run as scripts, with the Python of `.venv-peers`."""
