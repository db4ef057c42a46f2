"""Bodies as large as they may be that cost a careless server much: values that stand where a request has a field."""

from collections.abc import Callable

SIZE = 2 * 2**20  # bytes of a body, which ADAKRON_MAX_BODY_BYTES allows


def repeated(part: bytes, start: bytes = b"[", end: bytes = b"]") -> bytes:
    """Return as many `part`s with commas between as fit into a body together with the text around them."""
    number = (SIZE - 1024) // (len(part) + 1)
    return start + b",".join([part] * number) + end


def numbered(form: str, start: bytes = b"{", end: bytes = b"}") -> bytes:
    """The same with a number in each part."""
    number = (SIZE - 1024) // (len(form) + 5)
    return start + b",".join([form.format(index).encode() for index in range(number)]) + end


def filled(part: bytes, start: bytes = b'"', end: bytes = b'"') -> bytes:
    """The same without commas."""
    return start + part * ((SIZE - 1024) // len(part)) + end


VALUES: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: repeated(b"1"),
    "true": lambda: repeated(b"true"),
    "null": lambda: repeated(b"null"),
    "empty texts": lambda: repeated(b'""'),
    "texts": lambda: repeated(b'"a"'),
    "blank texts": lambda: repeated(b'"\\u200b"'),
    "empty lists": lambda: repeated(b"[]"),
    "lists of a number": lambda: repeated(b"[1]"),
    "pairs of numbers": lambda: repeated(b"[1,2]"),
    "triples": lambda: repeated(b'["a","b","c"]'),
    "empty objects": lambda: repeated(b"{}"),
    "objects": lambda: repeated(b'{"text":1,"more":2}'),
    "tensors": lambda: repeated(b'{"name":"text","shape":[1],"datatype":"BYTES","data":[1]}'),
    "open brackets": lambda: filled(b"[", b"", b""),
    "open braces": lambda: filled(b'{"a":', b"", b""),
    "deep lists": lambda: b"[" * (SIZE // 2 - 512) + b"]" * (SIZE // 2 - 512),
    "deep pairs": lambda: repeated(b"[" * 150 + b"]" * 150),
    "fields": lambda: numbered('"k{}":1'),
    "the same field": lambda: repeated(b'"a":1', b"{", b"}"),
    "a field's long name": lambda: filled(b"a", b'{"', b'":1}'),
    "integer": lambda: filled(b"9", b"", b""),
    "integers of 4,000 digits": lambda: repeated(b"9" * 4000),
    "integers of 19 digits": lambda: repeated(b"9" * 19),
    "float": lambda: filled(b"3", b"0.", b""),
    "floats": lambda: repeated(b"1.7976931348623157e308"),
    "exponent": lambda: filled(b"9", b"1e", b""),
    "escapes": lambda: filled(b"\\n"),
    "escaped quotes": lambda: filled(b'\\"'),
    "escaped backslashes": lambda: filled(b"\\\\"),
    "escaped letters": lambda: filled(b"\\u00e9"),
    "half surrogate pairs": lambda: filled(b"\\ud800"),
    "surrogate pairs": lambda: filled(b"\\ud83d\\ude00"),
    "zero-width characters": lambda: filled("\u200b".encode()),
    "commas and brackets": lambda: filled(b",[{"),
    "quotes": lambda: filled(b'"', b"", b""),
    "white space": lambda: filled(b" ", b"", b"1"),
    "no UTF-8": lambda: filled(b"\xff"),
    "zeros": lambda: filled(b"\0", b"", b""),
}
FIELDS: dict[str, tuple[str, bytes]] = {  # path, and a body with %s where a value stands
    "predict": ("/v1/single/predict", b'{"inputs":%s}'),
    "predict pairs": ("/v1/pairs/predict", b'{"inputs":%s}'),
    "predict, an option": ("/v1/single/predict", b'{"inputs":"a","top_k":%s}'),
    "predict, all": ("/v1/single/predict", b"%s"),
    "many, inputs": ("/v1/predict", b'{"tasks":["single","pairs"],"inputs":%s}'),
    "many, tasks": ("/v1/predict", b'{"inputs":"a","tasks":%s}'),
    "infer, all": ("/v2/models/single/infer", b"%s"),
    "infer, inputs": ("/v2/models/single/versions/1/infer", b'{"inputs":%s}'),
    "infer, shape": (
        "/v2/models/single/infer",
        b'{"inputs":[{"name":"text","datatype":"BYTES","data":["a"],"shape":%s}]}',
    ),
    "infer, data": (
        "/v2/models/single/infer",
        b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":%s}]}',
    ),
    "infer, parameters": ("/v2/models/single/infer", b'{"inputs":[],"parameters":%s}'),
    "infer, outputs": (
        "/v2/models/single/infer",
        b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}],"outputs":%s}',
    ),
    "classify, input": ("/classify", b'{"model":"single","input":%s}'),
    "classify, model": ("/classify", b'{"input":"a","model":%s}'),
    "tei": ("/tei/single/predict", b'{"inputs":%s,"truncate":true}'),
    "predict, context": ("/v1/gated/predict", b'{"inputs":"a","context":%s}'),
    "predict, a key": ("/v1/gated/predict", b'{"inputs":"a","context":{"user":%s}}'),
    "many, context": ("/v1/predict", b'{"tasks":["gated","single"],"inputs":"a","context":%s}'),
    "infer, a key": (
        "/v2/models/gated/infer",
        b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}],"parameters":{"context.user":%s}}',
    ),
    "classify, context": ("/classify", b'{"model":"gated","input":"a","context":%s}'),
    "tei, a key": ("/tei/gated/predict", b'{"inputs":"a","context":{"user":%s}}'),
    "keys, tasks": ("/admin/v1/keys", b'{"name":"a","scopes":["predict"],"tasks":%s}'),
    "keys, scopes": ("/admin/v1/keys", b'{"name":"a","scopes":%s}'),
    "keys, name": ("/admin/v1/keys", b'{"scopes":["predict"],"name":%s}'),
    "alias": ("/admin/v1/tasks/single/aliases/canary", b'{"version":%s}'),
    "weight": ("/admin/v1/tasks/single/weight", b'{"weight":%s}'),
}
