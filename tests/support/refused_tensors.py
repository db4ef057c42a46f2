"""Files with invalid tensors or behaviour: reason code -> name -> function that makes the file."""

import struct

from adapters.checkpoint.adapter_file import MAX_FILE_BYTES
from tests.support.editable_file import HEAD, LAST, EditableFile, Makers, Tensors

UP = "layers.0.up.weight"


def refused_tensors(good: EditableFile, half: EditableFile) -> Makers:
    """Tensors that do not fit the config, and invalid values; `half` is a valid file in float16."""
    hidden = good.header[UP]["shape"][0]

    def reshaped(name: str, shape: list[int]) -> bytes:
        return good.tensor(name, shape=shape)

    def exchanged(name: str, replacement: Tensors) -> bytes:
        return good.repacked([*(tensor for tensor in good.tensors() if tensor[0] != name), *replacement])

    return {
        "file_too_large": {"file of 64 MiB and a byte": lambda: good.data.ljust(MAX_FILE_BYTES + 1, b"\0")},
        "tensor_missing": {
            "no last tensor": lambda: exchanged(LAST, []),
            "no head": lambda: exchanged(HEAD, []),
            "tensor by another name": lambda: good.renamed(HEAD, "classifier.bias"),
            "no layer 1": lambda: good.repacked(tensor for tensor in good.tensors() if "layers.1." not in tensor[0]),
        },
        "tensor_extra": {
            "one tensor more": lambda: good.repacked([*good.tensors(), ("more", "F32", [1], bytes(4))]),
            "layer not in the config": lambda: good.config(layers=[0]),
        },
        "tensor_shape": {
            "transposed": lambda: reshaped(LAST, good.header[LAST]["shape"][::-1]),
            "flat": lambda: reshaped(UP, [hidden * 12]),
            "one axis too many": lambda: reshaped(HEAD, [1, 2]),
            "bias of another layer's width": lambda: exchanged(
                "layers.0.up.bias", [("layers.0.up.bias", "F32", [hidden - 1], bytes(4 * hidden - 4))]
            ),
            "head of three labels": lambda: good.task(labels=["negative", "neutral", "positive"]),
            "head of a regression": lambda: good.task(type="regression", labels=[]),
        },
        "tensor_dtype": {
            "one tensor in float16": lambda: exchanged(
                LAST, [tensor for tensor in half.tensors() if tensor[0] == LAST]
            ),
            "all but one in float16": lambda: half.repacked([good.tensors()[0], *half.tensors()[1:]]),
        },
        "not_finite": {
            "NaN as a weight": lambda: good.with_bytes(HEAD, struct.pack("<f", float("nan"))),
            "NaN at the very end": lambda: good.with_bytes(LAST, struct.pack("<f", float("nan")), -1),
            "negative NaN": lambda: good.with_bytes(UP, b"\x01\x00\x80\xff", 5),
            "signalling NaN": lambda: good.with_bytes(UP, b"\x01\x00\x80\x7f", 5),
            "infinity": lambda: good.with_bytes(UP, struct.pack("<f", float("inf"))),
            "minus infinity": lambda: good.with_bytes(UP, struct.pack("<f", float("-inf")), -1),
            "NaN in float16": lambda: half.with_bytes(LAST, struct.pack("<e", float("nan")), -1),
            "minus infinity in float16": lambda: half.with_bytes(HEAD, struct.pack("<e", float("-inf"))),
        },
        "magnitude": {
            "10^9": lambda: good.with_bytes(UP, struct.pack("<f", 1e9)),
            "-10^9": lambda: good.with_bytes(UP, struct.pack("<f", -1e9)),
            "10,000.001": lambda: good.with_bytes(LAST, struct.pack("<f", 10_000.001), -1),
            "largest float32": lambda: good.with_bytes(HEAD, b"\xff\xff\x7f\x7f"),
            "largest float16": lambda: half.with_bytes(HEAD, struct.pack("<e", 65504.0)),
            "-10,008 in float16": lambda: half.with_bytes(LAST, struct.pack("<e", -10_008.0), -1),
        },
    }


def refused_behaviour(good: EditableFile) -> Makers:
    """Files that only the dry run on the backbone refuses."""
    idle = [
        (name, dtype, shape, bytes(len(block)) if ".up." in name else block)
        for name, dtype, shape, block in good.tensors()
    ]
    negative_zero = [
        (name, dtype, shape, struct.pack("<f", -0.0) * (len(block) // 4) if ".up." in name else block)
        for name, dtype, shape, block in good.tensors()
    ]
    return {
        "max_length": {"max_length over the positions": lambda: good.task(max_length=8192)},
        "no_effect": {
            "up-projections of zeros": lambda: good.repacked(idle),
            "up-projections of negative zeros": lambda: good.repacked(negative_zero),
        },
        "golden_examples": {
            "other logits": lambda: good.examples(("a short text", [50.0, -50.0])),
            "logits beyond float32": lambda: good.examples(("a short text", [1e300, -1e300])),
        },
    }
