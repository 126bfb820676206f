"""Names as pictures show them."""

from __future__ import annotations


def plain(name: object, most: int | None = None) -> str:
    r"""A name letter by letter in matplotlib: two "$" would make a formula, a leading "_" hides an entry of a legend.

    Longer ones than `most` letters end in "…".

    >>> print(plain("US$ 5 or C$ 6"))
    US\$ 5 or C\$ 6
    """
    text = str(name)
    if most is not None and len(text) > most:
        text = f"{text[: most - 1]}…"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
