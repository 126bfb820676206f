"""`Rules`: a registry that takes a rule only with both of its forms."""

from __future__ import annotations

from typing import Any

from qnum_gym.registry import Registry

NONE = -1  # nobody, in compiled rules


class Rules(Registry[type[Any]]):
    """Rules by name: classes with a docstring and two static methods, `compiled` and `plain`.

    Args:
        field: of a scenario, as in "discipline".
        group: of entry points of other packages.
        compiled: arguments of the rule that numba compiles, for messages.
        plain: likewise of the plain one.
    """

    def __init__(self, field: str, group: str, *, compiled: str, plain: str) -> None:
        super().__init__(field, group, made=lambda name, rule: rule)
        self._forms = {"compiled": compiled, "plain": plain}

    def register(self, name: str, kind: type[Any]) -> type[Any]:
        """Add a rule, and give it back.

        Raises:
            ValueError: the name is taken, or a form of the rule or its docstring is missing.
        """
        for form, arguments in self._forms.items():
            if not callable(getattr(kind, form, None)):
                raise ValueError(f"{self.field} = {name!r}: no {form} rule; valid: a static method {form}({arguments})")
        if not (kind.__doc__ or "").strip():
            raise ValueError(f"{self.field} = {name!r}: no docstring; valid: one line that says the rule")
        return super().register(name, kind)

    def doc(self, name: str) -> str:
        """First line of a rule's docstring."""
        return str(self[name].__doc__).strip().splitlines()[0]
