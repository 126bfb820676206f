"""The evidence that the simulator is right: laws with independent values, measured by one command, `qnum-gym validate`.

A law is a function that yields findings, registered with `law`; other packages offer theirs as entry points
`qnum_gym.validation`. [ours]

- law: what a law and a finding are, the verdict, and the registry of all
- running: simulations and the means of their stretches
- density, photons: density matrices of pairs, photon numbers of attempts; the independent side of laws and tests
- pairs, queues, waiting, whole: the laws
- report: table, files and figure
- limits: how far the formula of model.md §7 is off, and where
"""
