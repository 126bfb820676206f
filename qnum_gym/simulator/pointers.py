# pyright: basic
"""Arrays as bare pointers inside compiled code: no reference counts, no bounds, no negative indices.

numba counts references to every array that passes through a function, which costs the event loop more than the events.
`pointer(array)` gives the address; indexing it gives a reference to the record, or the number, as in C. Whoever takes a
pointer keeps the array alive.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
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


def address(typing_context, array):
    """The address of an array's first element."""

    def code(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    is_record = isinstance(array.dtype, types.Record)
    return (Records(array.dtype) if is_record else types.CPointer(array.dtype))(array), code


pointer: Any = intrinsic(address)
