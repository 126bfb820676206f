# pyright: basic
"""Arrays as bare pointers inside compiled code: no reference counts, no bounds, no negative indices.

numba counts references to every array that passes through a function, which costs the event loop more than the events.
A pointer made of an array's address gives, indexed, a reference to the record, or the number, as in C. Whoever takes an
address keeps the array alive.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core.typing import templates
from numba.core.typing.templates import AbstractTemplate, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

infer_global: Any = templates.infer_global


class Records(types.Type):
    """Pointer to consecutive records of one dtype."""

    def __init__(self, dtype: types.Record) -> None:
        self.dtype = dtype
        super().__init__(name=f"Records({dtype})")


@register_model(Records)
class RecordsModel(models.PrimitiveModel):
    def __init__(self, manager, records):
        super().__init__(manager, records, ir.PointerType(manager.lookup(records.dtype).get_data_type()))


@infer_global(operator.getitem)
class GetRecord(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Records) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.intp)
        return None


@lower_builtin(operator.getitem, Records, types.Integer)
def get_record(context, builder, sig, args):
    return builder.gep(args[0], [args[1]], inbounds=True)


def at_address(dtype: np.dtype[Any]) -> Any:
    """A compiled function from an address (int64) to a pointer to consecutive items of `dtype`."""
    item = from_dtype(dtype)
    kind = Records(item) if isinstance(item, types.Record) else types.CPointer(item)

    def cast(typing_context, address):
        def code(context, builder, sig, args):
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(types.int64), code

    return intrinsic(cast)
