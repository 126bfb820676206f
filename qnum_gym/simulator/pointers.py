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
from numba.core import cgutils
from numba.core.typing import templates
from numba.core.typing.templates import AbstractTemplate, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

infer_global: Any = templates.infer_global
_kept: list[Any] = []


class Records(types.Type):
    """Pointer to consecutive records of one dtype."""

    def __init__(self, dtype: types.Record) -> None:
        self.dtype = dtype
        super().__init__(name=f"Records({dtype})")


@register_model(Records)
class RecordsModel(models.PrimitiveModel):
    """In memory it is a plain pointer."""

    def __init__(self, manager, records):
        super().__init__(manager, records, ir.PointerType(manager.lookup(records.dtype).get_data_type()))


@infer_global(operator.getitem)
class GetRecord(AbstractTemplate):
    """The type of `records[i]`: a record."""

    def generic(self, args, kws):
        """The signature, if it is that."""
        if isinstance(args[0], Records) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.intp)
        return None


@lower_builtin(operator.getitem, Records, types.Integer)
def get_record(context, builder, sig, args):
    """The code of `records[i]`: the address of the i-th."""
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


def caller(kind: types.Type) -> Any:
    """A compiled function that calls what begins at an address, with a tuple of arguments; all of one kind."""

    def call(typing_context, address, arguments):
        def code(context, builder, sig, args):
            item, count = context.get_value_type(kind), arguments.count
            function = builder.inttoptr(args[0], ir.FunctionType(item, [item] * count).as_pointer())
            return builder.call(function, [builder.extract_value(args[1], i) for i in range(count)])

        return kind(types.int64, types.UniTuple(kind, arguments.count)), code

    return intrinsic(call)


def address(dispatcher: Any, signature: tuple[types.Type, ...]) -> int:
    """Where a function of numbers begins, compiled for `signature`; it stays there as long as the process lives."""
    dispatcher.compile(signature)
    _kept.append(dispatcher)
    made = dispatcher.overloads[signature]
    return made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name)


def prefetch_record(typing_context, records, index):
    """Ask for the cache lines of a record that is soon needed; changes nothing but the time it takes."""

    def code(context, builder, sig, args):
        byte = ir.IntType(8).as_pointer()
        i32 = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]), "llvm.prefetch.p0"
        )
        record = builder.bitcast(builder.gep(args[0], [args[1]]), byte)
        for offset in range(0, sig.args[0].dtype.size, 64):
            line = builder.gep(record, [ir.Constant(i32, offset)])
            builder.call(function, [line, i32(1), i32(3), i32(1)])  # for writing, into all caches, data
        return context.get_dummy_value()

    return types.void(records, types.intp), code


prefetch: Any = intrinsic(prefetch_record)
