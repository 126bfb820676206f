"""Golden files: what environments, simulator, optimum and policies computed before code was moved.

- cases: what is run, by name
- measure: runs it through the public surface alone and gives plain numbers, and compares two such results
- *.json: the numbers, a line per case, written by `python -m tests.golden`

They change only where behaviour is meant to change, with a line in docs/errata.md.
"""
