"""What pairs and links are: formulas that everything else takes from here.

- werner: a pair and its fidelity, swapping, storage
- measures: the registry of entanglement measures f(W)
- links: the registry of link models
"""
