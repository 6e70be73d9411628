"""The types that a .tflite file takes and gives, changed in the file alone."""

import copy
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from kbp._utils.arguments import check_one_of
from kbp.export.metadata.archive import read_archive, write_archive
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
}
_NAMES = {number: name for name, number in _TYPES.items()}
_FLOAT32, _INT8, _UINT8 = _TYPES.values()
_QUANTIZE = schema.BuiltinOperator.QUANTIZE
_DEQUANTIZE = schema.BuiltinOperator.DEQUANTIZE
_SHIFT = 128  # of the zero point: int8 -128 is uint8 0
_VERSION = 2  # of both operations, which knows integers of all signs


def with_interface(content: bytes, dtype: str) -> bytes:
    """Return a .tflite file that takes and gives another type.

    Integers inside get an operation QUANTIZE or DEQUANTIZE at each end, or lose
    the one that is there. What is computed between stays as it is: scales are
    the same, and those of uint8 and int8 are 128 apart. Names, signature,
    description and the texts at the file's end are kept. Inputs of indices stay
    integers of theirs, and what is float inside stays float where other ends
    are not.

    Args:
        content: of a .tflite file.
        dtype: `"float32"`, `"int8"` or `"uint8"`. LiteRT.js has no int8.

    Raises:
        ValueError: the type is unknown, the file is damaged, or it computes
            in float at all its ends, where it has no integers to take.

    Example:
    >>> import kbp.zoo
    >>> content = kbp.zoo.file(kbp.zoo.DEFAULT).read_bytes()
    >>> floats = with_interface(content, "float32")
    >>> operations = kbp.export.audit(floats).operations
    >>> operations[0].name, operations[-1].name
    ('QUANTIZE', 'DEQUANTIZE')
    """
    check_one_of([*_TYPES], dtype=dtype)
    tree = parse(content)
    graph, wanted = tree.subgraphs[0], _TYPES[dtype]
    changed: dict[int, int] = {}
    for is_input, ends in ((True, graph.inputs), (False, graph.outputs)):
        for end in map(int, items_of(ends)):
            if graph.tensors[end].type != wanted and end not in changed:
                found = _changed(tree, end, wanted, is_input=is_input)
                changed |= {} if found == end else {end: found}
    if not changed:
        _check_ends(graph, wanted, dtype)
        return content
    graph.inputs, graph.outputs = (
        [changed.get(int(i), int(i)) for i in items_of(ends)]
        for ends in (graph.inputs, graph.outputs)
    )
    for signature in items_of(tree.signatureDefs):
        if signature.subgraphIndex:
            continue  # its tensors are another graph's
        for entry in (
            *items_of(signature.inputs),
            *items_of(signature.outputs),
        ):
            place = entry.tensorIndex
            entry.tensorIndex = changed.get(place, place)
    _drop_unused(tree)
    return pack(tree) + _archive_of(content)


def _check_ends(graph: schema.SubGraphT, wanted: int, dtype: str) -> None:
    """Raise a ValueError if no end has the type, and all could not get it."""
    ends = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs)]
    if wanted != _FLOAT32 and not any(x.type == wanted for x in ends):
        names = ", ".join((x.name or b"").decode() for x in ends[:3])
        raise ValueError(
            f"The file computes in float at its ends ({names}), so it takes "
            f"and gives float32 alone. Received: dtype={dtype!r}"
        )


def _changed(
    tree: schema.ModelT, end: int, wanted: int, *, is_input: bool
) -> int:
    """Return the index of the tensor that becomes an end instead of another."""
    graph = tree.subgraphs[0]
    outer = graph.tensors[end]
    place = _peeled(tree, end, is_input=is_input)
    inner = graph.tensors[place]
    if not _is_integer(inner):
        return end
    name = outer.name or b""
    if inner.type == wanted:
        inner.name = name
        return place
    twin = copy.deepcopy(inner)
    twin.type, twin.buffer, twin.name = wanted, 0, name
    if wanted == _FLOAT32:
        twin.quantization = None
    else:
        shift = _SHIFT if wanted == _UINT8 else -_SHIFT
        zeros = items_of(inner.quantization.zeroPoint)
        twin.quantization.zeroPoint = [int(zero) + shift for zero in zeros]
    if inner is outer:
        inner.name = name + b"_" + _NAMES[inner.type].encode()
    graph.tensors.append(twin)
    new = len(graph.tensors) - 1
    gives_floats = wanted == _FLOAT32 and not is_input
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(
        tree, _DEQUANTIZE if gives_floats else _QUANTIZE
    )
    operator.inputs = [new if is_input else place]
    operator.outputs = [place if is_input else new]
    operators = [*items_of(graph.operators)]
    graph.operators = (
        [operator, *operators] if is_input else [*operators, operator]
    )
    return new


def _peeled(tree: schema.ModelT, end: int, *, is_input: bool) -> int:
    """Take an operation that only converts from an end.

    Returns:
        The index of the tensor behind it; the end's own if there is none.
    """
    graph = tree.subgraphs[0]
    operators = [*items_of(graph.operators)]
    used = [x for x in operators if end in items_of(x.inputs)]
    if is_input:
        found, others = used, [*items_of(graph.outputs)]
    else:
        found = [x for x in operators if end in items_of(x.outputs)]
        others = [*items_of(graph.inputs), *(end for _ in used)]
    if len(found) != 1 or end in others:
        return end
    (operator,) = found
    (place,) = operator.outputs if is_input else operator.inputs[:1]
    code = tree.operatorCodes[operator.opcodeIndex]
    outer, inner = graph.tensors[end], graph.tensors[place]
    kinds = (_QUANTIZE,) if is_input else (_QUANTIZE, _DEQUANTIZE)
    is_conversion = max(code.builtinCode, code.deprecatedBuiltinCode) in kinds
    if not (is_conversion and _is_integer(inner)) or not (
        outer.type == _FLOAT32 or _is_shifted(outer, inner)
    ):
        return end
    graph.operators = [x for x in operators if x is not operator]
    return int(place)


def _is_shifted(one: schema.TensorT, other: schema.TensorT) -> bool:
    """Say whether int8 and uint8 tensors stand for the same values."""
    if one.type == other.type or not (_is_integer(one) and _is_integer(other)):
        return False
    zeros = [int(x.quantization.zeroPoint[0]) for x in (one, other)]
    return _scales(one) == _scales(other) and abs(zeros[0] - zeros[1]) == _SHIFT


def _is_integer(tensor: schema.TensorT) -> bool:
    """Say whether a tensor holds floats that were rounded to eight bits."""
    return tensor.type in (_INT8, _UINT8) and bool(_scales(tensor))


def _scales(tensor: schema.TensorT) -> list[float]:
    quantization = tensor.quantization
    return [] if quantization is None else [*items_of(quantization.scale)]


def _code(tree: schema.ModelT, number: int) -> int:
    """Return the index of an operation's code, which is added if missing."""
    for place, code in enumerate(tree.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = _VERSION
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def _drop_unused(tree: schema.ModelT) -> None:
    """Leave out tensors that nothing reads or writes, and codes of nothing."""
    graph = tree.subgraphs[0]
    lists: list[Any] = [graph.inputs, graph.outputs]
    for operator in items_of(graph.operators):
        lists += [operator.inputs, operator.outputs]
        lists.append(operator.intermediates)
    used = sorted({int(i) for one in lists for i in items_of(one)} - {-1})
    places = {-1: -1, **{old: new for new, old in enumerate(used)}}

    def moved(indices: Any) -> Any:
        return None if indices is None else [places[int(i)] for i in indices]

    graph.tensors = [graph.tensors[i] for i in used]
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    for operator in items_of(graph.operators):
        operator.inputs = moved(operator.inputs)
        operator.outputs = moved(operator.outputs)
        operator.intermediates = moved(operator.intermediates)
    for signature in items_of(tree.signatureDefs):
        if signature.subgraphIndex:
            continue  # its tensors are another graph's
        for entry in (
            *items_of(signature.inputs),
            *items_of(signature.outputs),
        ):
            entry.tensorIndex = places[entry.tensorIndex]
    every = [x for one in tree.subgraphs for x in items_of(one.operators)]
    codes = sorted({x.opcodeIndex for x in every})
    tree.operatorCodes = [tree.operatorCodes[i] for i in codes]
    for operator in every:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)


def _archive_of(content: bytes) -> bytes:
    """Return the texts at a file's end as an archive, empty if it has none."""
    try:
        members = read_archive(content)
    except ValueError as error:
        raise ValueError(
            f"The archive at the file's end is damaged: {error}"
        ) from error
    return write_archive(members) if members else b""
