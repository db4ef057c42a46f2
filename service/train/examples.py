"""Golden examples: validation inputs with the logits that a server must compute for them."""

import json
import random
from collections import defaultdict
from collections.abc import Sequence

from adapters.adapter import Adapter, GoldenExample
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import TextInput
from adapters.serving.inference import predict_logits
from service.train.data.labels import Label

NUM_EXAMPLES = 8
MAX_BYTES = 24 * 1024  # all examples together; the header of a file holds 256 KiB
LOGIT_BYTES = 14


def choose_inputs(
    inputs: Sequence[TextInput], targets: Sequence[Label], num_outputs: int, seed: int
) -> list[TextInput]:
    """Draw at most NUM_EXAMPLES inputs, from each label in turn; inputs too long for the file are skipped."""
    by_label: dict[Label, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        # a regression has no classes: the thirds of its range take their place
        by_label[_third(target, targets) if isinstance(target, float) else target].append(index)
    drawn = random.Random(seed)
    for members in by_label.values():
        drawn.shuffle(members)
    rounds = max(len(members) for members in by_label.values())
    in_turn = [members[turn] for turn in range(rounds) for members in by_label.values() if turn < len(members)]
    chosen: list[TextInput] = []
    num_bytes = 0
    for index in in_turn:
        # quoted twice: the metadata is JSON in a string of the header's JSON
        size = len(_quoted(_quoted(inputs[index])).encode()) + LOGIT_BYTES * num_outputs
        if num_bytes + size <= MAX_BYTES and len(chosen) < NUM_EXAMPLES:
            chosen.append(inputs[index])
            num_bytes += size
    return chosen


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _third(target: float, targets: Sequence[Label]) -> int:
    values = [value for value in targets if isinstance(value, float)]
    low, high = min(values), max(values)
    return min(2, int(3 * (target - low) / (high - low))) if high > low else 0


def make_examples(loaded: LoadedBackbone, adapter: Adapter, inputs: Sequence[TextInput]) -> tuple[GoldenExample, ...]:
    """Golden examples: the inputs with the logits of `adapter`, to seven digits. A server must get the same logits."""
    if not inputs:
        return ()
    logits = predict_logits(loaded, adapter, inputs)
    return tuple(
        GoldenExample(inputs=item, logits=tuple(float(f"{value:.7g}") for value in row))
        for item, row in zip(inputs, logits, strict=True)
    )
