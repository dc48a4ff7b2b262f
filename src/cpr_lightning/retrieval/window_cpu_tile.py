"""Dot products of a small tile of query cells with the reference cells beside them, in registers of the CPU at hand.

Written as LLVM instructions because numba knows no half precision, and because the tile lives from each number that is
loaded (and converted, for half precision and 8 bits) being used several times before it leaves its register. LLVM makes
every vector here into the machine's own, wider or narrower.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

# llvmlite's own annotations do not hold together.
Builder: TypeAlias = Any
Value: TypeAlias = Any

_FLOAT, _HALF, _BYTE = ir.FloatType(), ir.HalfType(), ir.IntType(8)
_INT32, _INT64, _FLAG = ir.IntType(32), ir.IntType(64), ir.IntType(1)


class Shape(NamedTuple):
    """A tile: ``rows × columns`` query cells, each matched with ``offsets`` neighboring cells of one reference row.

    Query column c meets the reference cells c, c + 1, … c + offsets − 1 of the ``columns + offsets − 1`` that are read.
    """

    rows: int
    columns: int
    offsets: int


def _machine() -> tuple[int, int, bool]:
    """(numbers in a vector register, registers, whether half precision is known) of the machine compiled for."""
    known = {} if getattr(config, "CPU_NAME", None) else binding.get_host_cpu_features()
    if known.get("avx512f"):
        return 16, 32, True
    if known.get("neon"):
        return 4, 32, True
    return (8 if known.get("avx") else 4), 16, bool(known.get("f16c"))


LANES, _REGISTERS, _KNOWS_HALF = _machine()
# 3 × 2 × 3 sums and what is being multiplied fit into 32 registers, 3 × 1 × 3 into 16.
BAND = Shape(3, 2 if _REGISTERS == 32 else 1, 3)
DIAGONAL = Shape(1, 8, 1)  # a window of one cell: a cell meets only its own place
SUMS = 32  # room for the products of a tile, in whole vectors


def tile_products(stored: str, shape: Shape) -> Callable[..., None]:
    """Make ``products(queries, width, references, dim, ahead, sums)`` for use in numba code.

    Args:
        stored: ``float``, ``half`` or ``byte``: what a reference is made of.
        shape: what meets what.

    The function's arguments are addresses and numbers (int64): ``queries`` points to the addresses of the first cell of
    each query row, float32, cells ``width`` numbers apart and filled up with zeros to whole vectors; ``references`` to
    the addresses of the reference cells, ``dim`` numbers each, at any address; ``ahead`` is the distance in bytes of
    what will be read next, to be fetched meanwhile. ``sums`` receives the products as float32 in the order (offset,
    row, column), in whole vectors. Every product is summed in the same order, so that equal vectors tie exactly.
    """

    @intrinsic
    def products(typing_context: Any, queries, width, references, dim, ahead, sums):  # noqa: ARG001
        signature = types.void(*[types.int64] * 6)

        def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> ir.Constant:  # noqa: ARG001
            _generate(builder, stored, shape, *arguments)
            return context.get_dummy_value()

        return signature, generate

    return products


def _bytes_at(typing_context: Any, address: Any):  # noqa: ARG001
    """An address (int64) as a pointer to uint8, for ``carray``."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Value:  # noqa: ARG001
        return builder.inttoptr(arguments[0], _BYTE.as_pointer())

    return types.CPointer(types.uint8)(types.int64), generate


bytes_at: Any = intrinsic(_bytes_at)


def _generate(
    builder: Builder,
    stored: str,
    shape: Shape,
    queries: Value,
    width: Value,
    references: Value,
    dim: Value,
    ahead: Value,
    sums: Value,
) -> None:
    vector = ir.VectorType(_FLOAT, LANES)
    size = {"float": 4, "half": 2, "byte": 1}[stored]
    fused = _declared(builder, f"llvm.fmuladd.v{LANES}f32", vector, vector, vector, vector)
    prefetch = _declared(builder, "llvm.prefetch.p0", ir.VoidType(), _BYTE.as_pointer(), _INT32, _INT32, _INT32)

    def addresses(array: Value, count: int) -> list[Value]:
        pointer = builder.inttoptr(array, _INT64.as_pointer())
        return [builder.load(builder.gep(pointer, [_INT64(at)])) for at in range(count)]

    query_rows = addresses(queries, shape.rows)
    column_bytes = builder.mul(width, _INT64(4))
    query_cells = [
        [builder.add(row, builder.mul(column_bytes, _INT64(column))) for column in range(shape.columns)]
        for row in query_rows
    ]
    reference_cells = addresses(references, shape.columns + shape.offsets - 1)
    totals = [cgutils.alloca_once(builder, vector) for _ in range(shape.rows * shape.columns * shape.offsets)]
    for total in totals:
        builder.store(ir.Constant(vector, None), total)

    def step(first: Value, read: Callable[[Value], Value]) -> None:
        """Multiply the LANES numbers from ``first`` on."""
        cells = []
        for at, cell in enumerate(reference_cells):
            address = builder.add(cell, builder.mul(first, _INT64(size)))
            cells.append(read(address))
            if at >= shape.offsets - 1:  # the others were fetched with the tile before
                pointer = builder.inttoptr(builder.add(address, ahead), _BYTE.as_pointer())
                builder.call(prefetch, [pointer, _INT32(0), _INT32(3), _INT32(1)])
        for row in range(shape.rows):
            for column in range(shape.columns):
                address = builder.add(query_cells[row][column], builder.mul(first, _INT64(4)))
                query = _load(builder, vector, address)
                for offset in range(shape.offsets):
                    total = totals[(offset * shape.rows + row) * shape.columns + column]
                    builder.store(builder.call(fused, [query, cells[column + offset], builder.load(total)]), total)

    rest = builder.urem(dim, _INT64(LANES))
    whole = builder.sub(dim, rest)
    with cgutils.for_range_slice(builder, _INT64(0), whole, _INT64(LANES), inc=True) as (first, _):
        step(first, lambda address: _numbers(builder, stored, _load(builder, _raw(stored), address)))
    with builder.if_then(builder.icmp_unsigned("!=", rest, _INT64(0)), likely=False):
        step(whole, lambda address: _numbers(builder, stored, _load_some(builder, _raw(stored), address, rest)))

    for at, folded in enumerate(_folded(builder, [builder.load(total) for total in totals])):
        address = builder.add(sums, _INT64(at * LANES * 4))
        builder.store(folded, builder.inttoptr(address, vector.as_pointer()), align=4)


def _raw(stored: str) -> ir.VectorType:
    return ir.VectorType({"float": _FLOAT, "half": ir.IntType(16), "byte": _BYTE}[stored], LANES)


def _load(builder: Builder, vector: ir.VectorType, address: Value) -> Value:
    # A bank mapped from a file starts at any address.
    return builder.load(builder.inttoptr(address, vector.as_pointer()), align=1)


def _load_some(builder: Builder, vector: ir.VectorType, address: Value, count: Value) -> Value:
    """The first ``count`` numbers, then zeros: what lies behind the last vector of a file must not be touched."""
    lanes = ir.VectorType(_INT64, LANES)
    limit = builder.insert_element(ir.Constant(lanes, ir.Undefined), count, _INT32(0))
    limit = builder.shuffle_vector(limit, limit, ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES))
    mask = builder.icmp_unsigned("<", ir.Constant(lanes, list(range(LANES))), limit)
    kind = {"float": "f32", "i16": "i16", "i8": "i8"}[str(vector.element)]
    load = _declared(
        builder,
        f"llvm.masked.load.v{LANES}{kind}.p0",
        vector,
        vector.as_pointer(),
        _INT32,
        ir.VectorType(_FLAG, LANES),
        vector,
    )
    pointer = builder.inttoptr(address, vector.as_pointer())
    return builder.call(load, [pointer, _INT32(1), mask, ir.Constant(vector, None)])


def _numbers(builder: Builder, stored: str, raw: Value) -> Value:
    """Stored numbers as float32."""
    vector = ir.VectorType(_FLOAT, LANES)
    if stored == "float":
        return raw
    if stored == "byte":
        return builder.uitofp(raw, vector)
    if _KNOWS_HALF:
        return builder.fpext(builder.bitcast(raw, ir.VectorType(_HALF, LANES)), vector)

    # By hand: LLVM would call a function that is not there. Exponents of half and float32 differ by 112.
    def constant(number: float, kind: ir.Type) -> Value:
        return ir.Constant(ir.VectorType(kind, LANES), [number] * LANES)

    bits = builder.zext(raw, ir.VectorType(_INT32, LANES))
    magnitude = builder.shl(builder.and_(bits, constant(0x7FFF, _INT32)), constant(13, _INT32))
    sign = builder.shl(builder.and_(bits, constant(0x8000, _INT32)), constant(16, _INT32))
    number = builder.fmul(builder.bitcast(magnitude, vector), constant(2.0**112, _FLOAT))
    return builder.bitcast(builder.or_(builder.bitcast(number, bits.type), sign), vector)


def _folded(builder: Builder, vectors: list[Value]) -> list[Value]:
    """The sum over each vector's lanes, LANES of them in a vector: two vectors are halved into one, again and again."""
    nothing = ir.Constant(vectors[0].type, None)
    vectors = vectors + [nothing] * (-len(vectors) % LANES)
    picks = [ir.Constant(ir.VectorType(_INT32, LANES), list(range(start, 2 * LANES, 2))) for start in (0, 1)]
    for _ in range(LANES.bit_length() - 1):
        vectors = [
            builder.fadd(builder.shuffle_vector(one, other, picks[0]), builder.shuffle_vector(one, other, picks[1]))
            for one, other in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors


def _declared(builder: Builder, name: str, result: ir.Type, *arguments: ir.Type) -> ir.Function:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)
