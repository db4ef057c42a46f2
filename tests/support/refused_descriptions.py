"""Files with invalid adakron metadata: reason code -> name -> function that makes the file."""

from tests.support.editable_file import EditableFile, Makers, canonical

NAN, INFINITY = float("nan"), float("inf")


def refused_json(good: EditableFile) -> Makers:
    """Invalid JSON, unknown versions, and JSON that is not canonical."""
    text = canonical(good.metadata)

    def respelled(old: str, new: str) -> bytes:
        assert old in text
        return good.described_as(text.replace(old, new, 1))

    return {
        "metadata_key": {
            "one more key": lambda: good.edited(lambda header: header["__metadata__"].update(format="pt")),
            "another key": lambda: good.edited(lambda header: header.update(__metadata__={"format": "pt"})),
            "no key": lambda: good.edited(lambda header: header.update(__metadata__={})),
        },
        "metadata_json": {
            "adakron empty": lambda: good.described_as(""),
            "adakron cut": lambda: good.described_as(text[:-1]),
            "adakron a list": lambda: good.described_as("[]"),
            "adakron twice over": lambda: good.described_as(text + text),
            "adakron with a control character": lambda: respelled("negative", "nega\ntive"),
            "adakron with a lone surrogate": lambda: respelled("negative", "\\ud800"),
        },
        "metadata_nesting": {
            "training nested 9 deep": lambda: respelled('"training":{}', '"training":{"a":[[[[[[[]]]]]]]}'),
            "adakron nested 25,000 deep": lambda: good.described_as("[" * 25000 + "]" * 25000),
        },
        "metadata_duplicate_key": {
            "p twice": lambda: respelled('"p":3', '"p":3,"p":3'),
            "p twice, once escaped": lambda: respelled('"p":3', '"p":3,"\\u0070":3'),
            "pooling twice": lambda: respelled('"pooling":', '"pooling":"cls","pooling":'),
        },
        "metadata_large_integer": {
            "seed of 2^53 + 1": lambda: good.config(training={"seed": 2**53 + 1}),
            "seed of 5,000 digits": lambda: respelled('"training":{}', f'"training":{{"seed":-{"9" * 5000}}}'),
        },
        "metadata_not_a_number": {
            "score NaN": lambda: good.config(metrics={"f1": NAN}),
            "logit -Infinity": lambda: good.examples(("a", [0.0, -INFINITY])),
            "temperature NaN": lambda: good.task(temperature=NAN),
            "temperature Infinity": lambda: good.task(temperature=INFINITY),
            "score 1e999": lambda: respelled('"metrics":{}', '"metrics":{"f1":1e999}'),
        },
        "metadata_not_canonical": {
            "spaces": lambda: good.described_as(text.replace(":", ": ")),
            "keys not sorted": lambda: good.described_as('{"p":3,' + text[1:].replace('"p":3,', "")),
            "letter escaped": lambda: respelled("gelu", "\\u0067elu"),
            "label escaped": lambda: respelled("negative", "\\u00fcbel"),
            "label of version 1 not escaped": lambda: good.described_as(
                text.replace('"format_version":2', '"format_version":1').replace("negative", "übel")
            ),
            "score with an exponent": lambda: respelled('"metrics":{}', '"metrics":{"f1":1e0}'),
            "score an integer": lambda: respelled('"metrics":{}', '"metrics":{"f1":1}'),
            "truncation at the right spelled out": lambda: good.task(truncation="right"),
            "special tokens obeyed spelled out": lambda: good.task(special_tokens="obeyed"),
            "temperature of 1 spelled out": lambda: good.task(temperature=1.0),
            "temperature an integer": lambda: good.task(temperature=2),
            "default left out": lambda: good.described(lambda metadata: metadata.pop("training")),
        },
        "format_version": {
            "version 4": lambda: good.config(format_version=4),
            "version a string": lambda: good.config(format_version="1"),
            "version true": lambda: good.config(format_version=True),
            "version 1.0": lambda: good.config(format_version=1.0),
            "no version": lambda: good.described(lambda metadata: metadata.pop("format_version")),
        },
    }


def refused_configs(good: EditableFile) -> Makers:
    """Invalid adapters and tasks, or adapters for another backbone."""
    return {
        "config": {
            "unknown field of the config": lambda: good.config(source="http://127.0.0.1/"),
            "unknown field with an escape sequence": lambda: good.config(**{"\x1b[31m": 1}),
            "no backbone": lambda: good.described(lambda metadata: metadata.pop("backbone")),
            "version 1 with a truncation": lambda: good.config(
                format_version=1, task=good.metadata["task"] | {"truncation": "left"}
            ),
            "version 1 with special tokens as text": lambda: good.config(
                format_version=1, task=good.metadata["task"] | {"special_tokens": "text"}
            ),
            "truncation in the middle": lambda: good.task(truncation="middle"),
            "truncation by error": lambda: good.task(truncation="error"),
            "special tokens by a number": lambda: good.task(special_tokens=1),
            "activation relu": lambda: good.config(activation="relu"),
            "digest too short": lambda: good.backbone(weights_sha256="0"),
            "pooling by the maximum": lambda: good.task(pooling="max"),
            "pair a string": lambda: good.task(pair="no"),
            "labels a string": lambda: good.task(labels="negative"),
            "labels of numbers": lambda: good.task(labels=[0, 1]),
        },
        "bottleneck": {
            "p is 0": lambda: good.config(p=0),
            "q over 1,024": lambda: good.config(q=1025),
            "p a float": lambda: good.config(p=3.0),
            "p true": lambda: good.config(p=True),
            "q null": lambda: good.config(q=None),
            "q is not the tensors'": lambda: good.config(q=5),
            "p and q exchanged": lambda: good.config(p=4, q=3),
        },
        "layer_index": {
            "layer out of range": lambda: good.config(layers=[0, 128]),
            "negative layer": lambda: good.config(layers=[-1, 0]),
            "layers descend": lambda: good.config(layers=[1, 0]),
            "layer twice": lambda: good.config(layers=[0, 0]),
            "no layers": lambda: good.config(layers=[]),
            "layer a string": lambda: good.config(layers=["0", "1"]),
        },
        "task_type": {"unknown type": lambda: good.task(type="ranking"), "type null": lambda: good.task(type=None)},
        "label_count": {
            "one label": lambda: good.task(labels=["only"]),
            "no labels": lambda: good.task(labels=[]),
            "multi_label without labels": lambda: good.task(type="multi_label", labels=[]),
            "regression with labels": lambda: good.task(type="regression"),
            "1,025 labels": lambda: good.task(labels=[f"label {index}" for index in range(1025)]),
        },
        "label_empty": {"empty label": lambda: good.task(labels=["negative", ""])},
        "label_duplicate": {"label twice": lambda: good.task(labels=["same", "same"])},
        "label_too_long": {"label of 201 characters": lambda: good.task(labels=["negative", "x" * 201])},
        "label_characters": {
            "label of two lines": lambda: good.task(labels=["negative", "posi\ntive"]),
            "label with NUL": lambda: good.task(labels=["negative", "positive\0"]),
            "label written backwards": lambda: good.task(labels=["negative", "\u202eevitisop"]),
        },
        "max_length": {
            "max_length 3": lambda: good.task(max_length=3),
            "max_length 8,193": lambda: good.task(max_length=8193),
        },
        "temperature": {
            "temperature 0": lambda: good.task(temperature=0.0),
            "temperature negative": lambda: good.task(temperature=-2.0),
            "temperature below 0.01": lambda: good.task(temperature=0.0099),
            "temperature over 100": lambda: good.task(temperature=1e9),
            "temperature a string": lambda: good.task(temperature="2.0"),
            "temperature null": lambda: good.task(temperature=None),
            "temperature true": lambda: good.task(temperature=True),
            "temperature of a regression": lambda: good.task(type="regression", labels=[], temperature=2.0),
        },
        "metrics": {
            "score a string": lambda: good.config(metrics={"f1": "0.9"}),
            "33 scores": lambda: good.config(metrics={f"score {index}": 0.5 for index in range(33)}),
            "score without a name": lambda: good.config(metrics={"": 0.5}),
            "name of a score of 65 characters": lambda: good.config(metrics={"x" * 65: 0.5}),
        },
        "examples": {
            "pair in a task of single texts": lambda: good.examples((["a", "b"], [0.0, 0.0])),
            "three logits for two labels": lambda: good.examples(("a", [0.0, 0.0, 0.0])),
            "logits of strings": lambda: good.examples(("a", ["0.0", "0.0"])),
            "17 examples": lambda: good.examples(*[("a", [0.0, 0.0])] * 17),
            "texts of 24,577 characters": lambda: good.examples(("a", [0.0, 0.0]), ("b" * 24576, [0.0, 0.0])),
        },
        "other_backbone": {
            "other weights": lambda: good.backbone(weights_sha256="f" * 64),
            "a layer more": lambda: good.backbone(num_layers=good.metadata["backbone"]["num_layers"] + 1),
        },
        "other_tokenizer": {"other tokenizer": lambda: good.backbone(tokenizer_sha256="f" * 64)},
    }
