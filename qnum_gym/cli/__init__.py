"""The command line: `qnum-gym`, and what train.py and evaluate.py are scripts over."""
