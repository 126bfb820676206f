"""Names as pictures show them."""

from __future__ import annotations


def plain(name: object) -> str:
    r"""A name letter by letter in matplotlib: two "$" would make a formula, a leading "_" hides an entry of a legend.

    >>> print(plain("US$ 5 or C$ 6"))
    US\$ 5 or C\$ 6
    """
    text = str(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
