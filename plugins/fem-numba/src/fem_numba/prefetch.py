"""LLVM's `prefetch`: loads memory into the cache before it is used, on processors that can."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_: Any, array: Any, index: Any) -> Any:
    """Fetch the cache line of array[index] for reading or writing; an invalid address does nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [place, *(ir.Constant(word, flag) for flag in (WRITE, KEEP, DATA))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


WRITE, KEEP, DATA = 1, 3, 1  # as in LLVM's language reference
