"""The plan of the memory that a file's activations need."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from graphs import any_graph, random_graph
from hypothesis import given
from hypothesis import strategies as st
from structures import network, structures

import kbp
from kbp import export, zoo
from kbp.export.memory import arena
from kbp.export.memory.arena import Block, place, plan_of
from kbp.export.parsing import parse
from kbp.export.runtimes import arena_size

ENTRIES = [entry.name for entry in zoo.entries() if entry.has_weights]
BYTES = {"FLOAT32": 4, "INT32": 4, "INT8": 1, "INT16": 2, "BOOL": 1, "INT64": 8}

block = st.builds(
    lambda first, length, size: Block("", first, first + length, 16 * size),
    st.integers(0, 8),
    st.integers(0, 5),
    st.integers(0, 9),
)


def meet(a, b):
    """Say whether two blocks are needed at the same time."""
    return a.first <= b.last and b.first <= a.last


def check_places(blocks):
    for number, a in enumerate(blocks):
        assert a.offset >= 0
        assert a.offset % arena.ALIGNMENT == 0
        for b in blocks[number + 1 :]:
            if meet(a, b):
                assert a.end <= b.offset or b.end <= a.offset, (a, b)


def most_at_once(blocks):
    """The greatest sum of what is needed at one step, step by step."""
    steps = range(max((b.last for b in blocks), default=0) + 1)
    return max(
        sum(b.size for b in blocks if b.first <= step <= b.last)
        for step in steps
    )


def activations(content):
    """How many bytes each operation of a file needs, by the definition.

    A tensor is there from the operation that gives it until the last that
    takes it; the inputs at once, the outputs to the end.
    """
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    graph, *inner = tree.subgraphs
    names = {v: k for k, v in vars(schema.TensorType).items()}
    steps = [set() for _ in graph.operators]
    for i in range(len(graph.tensors)):
        makes = [n for n, op in enumerate(graph.operators) if i in op.outputs]
        takes = [n for n, op in enumerate(graph.operators) if i in op.inputs]
        is_input, is_output = i in graph.inputs, i in graph.outputs
        if not makes and not is_input:
            continue  # a constant
        begin = 0 if is_input else min(makes)
        end = len(steps) - 1 if is_output else max([begin, *takes, *makes])
        for step in range(begin, end + 1):
            steps[step].add(i)
    sizes = [
        -(-int(np.prod(t.shape)) * BYTES[names[t.type]] // 16) * 16
        for t in graph.tensors
    ]
    return [sum(sizes[i] for i in step) for step in steps], bool(inner)


@given(st.lists(block, max_size=25))
def test_blocks_that_are_needed_at_once_never_overlap(blocks):
    placed = place(blocks)
    check_places(placed)
    lives = [(b.first, b.last, b.size) for b in blocks]
    assert sorted((b.first, b.last, b.size) for b in placed) == sorted(lives)
    size = max((b.end for b in placed), default=0)
    assert size <= sum(b.size for b in blocks)
    if blocks:
        assert size >= most_at_once(blocks)


def test_the_largest_tensor_is_placed_first_and_others_fill_gaps():
    blocks = [
        Block("small", 0, 3, 16),
        Block("large", 0, 1, 64),
        Block("late", 2, 3, 48),
        Block("middle", 1, 2, 32),
    ]
    places = {b.name: b.offset for b in place(blocks)}
    assert places == {"large": 0, "late": 0, "middle": 64, "small": 96}


def exported(model, tmp_path, **options):
    path = tmp_path / "model.tflite"
    export.to_tflite(model, path, **options)
    return path.read_bytes()


def check_plan(content):
    plan = export.plan_arena(content)
    check_places(plan.blocks)
    needed, has_loops = activations(content)
    assert plan.size >= plan.peak >= max(needed)
    if has_loops:  # whose own memory comes on top
        assert {"WHILE"} <= {block.name for block in plan.blocks}
        return
    assert plan.peak == max(needed)
    audit = export.audit(content)
    fullest = audit.operations[needed.index(max(needed))]
    assert (plan.operation, plan.layer) == (fullest.name, fullest.layer)


def test_a_skip_keeps_its_tensor_until_it_is_added(tmp_path):
    x = inputs = keras.Input((16,), name="x")
    x = keras.layers.Dense(64, name="wide")(x)
    x = keras.layers.Dense(16, name="narrow")(x)
    model = keras.Model(inputs, keras.layers.Add(name="sum")([x, inputs]))
    plan = export.plan_arena(exported(model, tmp_path))
    assert plan.size == plan.peak == 4 * (16 + 64 + 16)
    assert plan.operation == "FULLY_CONNECTED"


@pytest.mark.parametrize("name", ENTRIES)
def test_plans_of_published_files_are_those_of_the_definition(name):
    check_plan(zoo.file(name).read_bytes())


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_plans_of_random_graphs_are_those_of_the_definition(seed, tmp_path):
    for make in (random_graph, any_graph):
        check_plan(exported(make(seed), tmp_path))


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["lstm", "convolutional_lstm", "shuffle_unit", "squeeze_and_excite"]
)
def test_plans_of_structures_are_those_of_the_definition(name, tmp_path):
    check_plan(exported(network(structures()[name]), tmp_path))


def test_a_graph_inside_is_memory_of_the_operation_that_runs_it():
    @tf.function(input_signature=[tf.TensorSpec((1, 64))])
    def call(x):
        def wider(i, y):
            wide = tf.repeat(y, 4, axis=1)
            return i + 1, tf.reshape(wide, (1, 64, 4))[:, :, 0] * 2.0

        return tf.while_loop(lambda i, y: i < 3, wider, (0, x))[1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [call.get_concrete_function()]
    )
    content = converter.convert()
    tree = parse(content)
    assert len(tree.subgraphs) > 1
    plan = plan_of(tree)
    assert plan.operation == "WHILE"
    inner = [b for b in plan.blocks if b.name == "WHILE"]
    assert max(b.size for b in inner) > 4 * 4 * 64
    assert export.footprint(content, measure=False).planned == plan.size


def test_a_graph_that_runs_itself_is_refused():
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs = operator.outputs = []
    operator.builtinOptions = schema.WhileOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.WHILE
    for body in (0, 7, -1):
        operator.builtinOptions.condSubgraphIndex = body
        graph = types.SimpleNamespace(
            operators=[operator], tensors=[], inputs=[], outputs=[]
        )
        tree = types.SimpleNamespace(
            subgraphs=[graph], operatorCodes=[code], buffers=[]
        )
        with pytest.raises(ValueError, match=f"damaged: .* runs graph {body}"):
            plan_of(tree)


def test_what_runs_in_sixteen_bits_takes_twice_the_memory():
    tensor = schema.TensorT()
    tensor.shape = np.array([3, 5])
    for name, size in (
        ("INT8", 15),
        ("INT16", 30),
        ("INT4", 8),
        ("INT64", 120),
    ):
        tensor.type = getattr(schema.TensorType, name)
        assert kbp.export.parsing.bytes_of(tensor) == size


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in ENTRIES if name.endswith(("digits", "h1_96"))]
)
def test_tflite_micro_needs_no_less_than_the_plan(name):
    pytest.importorskip("tflite_micro", reason="needs kbp[micro]")
    path = zoo.file(name)
    assert arena_size(path) >= export.plan_arena(path).size
