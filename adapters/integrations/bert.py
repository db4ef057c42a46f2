"""transformers' BertForSequenceClassification with AdaKron adapters <-> the adapter file that the server reads.

Both compute the same logits, to 1e-5, from the same token ids. Backbone, labels, type of task, pooling and head carry
over; a model or a file that the other side cannot express is refused in one line.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from pydantic import JsonValue, ValidationError
from torch import Tensor, nn

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata, GoldenExample
from adapters.backbone.files import BackboneSource, find_backbone
from adapters.backbone.source import read_weights
from adapters.backbone.text_encoder import TextInput
from adapters.config import DEFAULT_BACKBONE, Pooling, SpecialTokens, TaskSpec, TaskType, TrainedTruncation
from adapters.integrations.config import AdaKronConfig, IntegrationError
from adapters.integrations.sites import is_bert_classifier
from adapters.integrations.transformers import ADAPTER, attach, make_plan, merged_adapters, state_of

_SITE = "bert.encoder.layer.{}.output.dense"
_PARTS = ("down_a.weight", "down_a.bias", "down_b.weight", "down_b.bias", "up.weight", "up.bias")
_SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps")
_PROBLEMS: Mapping[TaskType, str] = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def export_adapter(
    model: nn.Module,
    backbone: str = DEFAULT_BACKBONE,
    *,
    max_length: int = 128,
    pair: bool = False,
    truncation: TrainedTruncation = "right",
    special_tokens: SpecialTokens = "obeyed",
    temperature: float = 1.0,
    examples: Sequence[TextInput] = (),
    training: Mapping[str, JsonValue] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> bytes:
    """Return the adapter file of a BertForSequenceClassification with adapters; mixtures are merged.

    `backbone` is the name or folder that the server loads: all weights except adapters and classifier must be its own.
    `max_length` (tokens), `truncation` and `special_tokens` ("obeyed" unless the tokenizer had `split_special_tokens`)
    are those of the training. `examples` become golden examples: the server compares its logits with the model's.
    Raises IntegrationError for a model that an adapter file cannot express, BackboneError if the backbone is not found,
    and CheckpointError if the file would be refused.
    """
    state, config = state_of(model), _config_of(model)
    source = find_backbone(backbone)
    pooling: Pooling = state.config.pooling or "pooler"
    _check_backbone(model, source, pooling)
    layers = {int(site.split(".")[3]): adapter for site, adapter in merged_adapters(model).items() if _is_site(site)}
    if others := [site for site in state.sites if not _is_site(site)]:
        raise IntegrationError(f"an adapter file has adapters at feed-forward outputs only, not at {others[0]}")
    kind = _task_type(config)
    try:
        task = TaskSpec(
            type=kind,
            labels=() if kind == "regression" else tuple(config.id2label[index] for index in range(config.num_labels)),
            pair=pair,
            pooling=pooling,
            max_length=max_length,
            temperature=temperature,
            truncation=truncation,
            special_tokens=special_tokens,
        )
        metadata = AdapterMetadata(
            backbone=source.identity,
            p=state.config.p,
            q=state.config.q,
            layers=tuple(sorted(layers)),
            task=task,
            training=dict(training or {}),
            metrics=dict(metrics or {}),
            examples=_golden_examples(model, source, task, examples),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise IntegrationError(f"the model cannot be an adapter file: {place and place + ': '}{first['msg']}") from None
    tensors = {f"layers.{layer}.{part}": layers[layer].state_dict()[part] for layer in layers for part in _PARTS}
    classifier = _classifier_of(model)
    return checkpoint.serialize(
        metadata, tensors | {"head.weight": classifier.weight.detach(), "head.bias": classifier.bias.detach()}
    )


def import_adapter(data: bytes, model: nn.Module, backbone: str = DEFAULT_BACKBONE) -> Adapter:
    """Put the adapter file `data` into a BertForSequenceClassification, in place; return what was read.

    `model` has the weights of `backbone`, the name or folder that the file is for, and `num_labels` as the file; its
    logits are those of the server before the temperature, which `metadata.task.temperature` of the result holds.
    Raises CheckpointError for any other bytes or another backbone, IntegrationError for a task or a model that do not
    fit; the model is then unchanged.
    """
    source, config = find_backbone(backbone), _config_of(model)
    adapter = checkpoint.parse_plain(data, source.identity)
    metadata, task = adapter.metadata, adapter.metadata.task
    tokenizer_options(task)
    _check_backbone(model, source, task.pooling)
    classifier = _classifier_of(model)
    if classifier.out_features != task.num_outputs:
        raise IntegrationError(
            f"the file has {task.num_outputs} outputs and the model {classifier.out_features}: load the model with "
            f"num_labels={task.num_outputs}"
        )
    sites = {layer: _SITE.format(layer) for layer in metadata.layers}
    shape = AdaKronConfig(
        r=metadata.bottleneck,
        q=metadata.q,
        target_modules=tuple(sites.values()),
        modules_to_save=("classifier",),
        pooling=task.pooling,
    )
    plan = make_plan(model, shape)
    for layer, site in sites.items():
        plan.adapters[site].load_state_dict({part: adapter.tensors[f"layers.{layer}.{part}"] for part in _PARTS})
    classifier.load_state_dict({part: adapter.tensors[f"head.{part}"] for part in ("weight", "bias")})
    attach(model, plan)
    config.problem_type = _PROBLEMS[task.type]
    if task.labels:
        config.id2label = dict(enumerate(task.labels))
        config.label2id = {label: index for index, label in enumerate(task.labels)}
    return adapter


def tokenizer_options(task: TaskSpec) -> dict[str, Any]:
    """Return the options of AutoTokenizer.from_pretrained with which it tokenizes as the server does for `task`.

    Texts are then cut by `tokenizer(texts, truncation=True)`. Raises IntegrationError for truncation "head-tail".
    """
    if task.truncation == "head-tail":
        raise IntegrationError(
            "transformers' tokenizers cannot cut the middle out of a text (truncation 'head-tail'): compute this "
            "adapter with adapters.serving.inference.predict_logits"
        )
    return {
        "model_max_length": task.max_length,
        "truncation_side": task.truncation,
        "split_special_tokens": task.special_tokens == "text",
    }


def _is_site(name: str) -> bool:
    parts = name.split(".")
    return len(parts) > 3 and name == _SITE.format(parts[3])


def _config_of(model: nn.Module) -> Any:
    if not is_bert_classifier(model):
        raise IntegrationError(f"only BertForSequenceClassification has an adapter file, not {type(model).__name__}")
    return cast(Any, model).config


def _classifier_of(model: nn.Module) -> nn.Linear:
    classifier = model.get_submodule("classifier")
    if not isinstance(classifier, nn.Linear):
        raise IntegrationError(f"the head of an adapter file is one linear layer, not a {type(classifier).__name__}")
    return classifier


def _task_type(config: Any) -> TaskType:
    """Return the type of task as transformers chooses the loss: by problem_type, else by the number of labels."""
    if config.problem_type is None:
        return "regression" if config.num_labels == 1 else "single_label"
    kind = next(kind for kind, problem in _PROBLEMS.items() if problem == config.problem_type)
    if kind == "regression" and config.num_labels != 1:
        raise IntegrationError(f"an adapter file has regressions of one number, not of {config.num_labels}")
    return kind


def _check_backbone(model: nn.Module, source: BackboneSource, pooling: Pooling) -> None:
    """Check that the model without adapters and classifier is the backbone; its pooler only counts if it is used."""
    name, config = source.identity.name, _config_of(model)
    for field in _SHAPE:
        if (here := getattr(config, field)) != (there := getattr(source.shape, field)):
            raise IntegrationError(f"the model has {field} {here}, backbone {name} {there}: load the model from it")
    weights = read_weights(source.folder / "model.safetensors", name)
    for key, parameter in model.get_submodule("bert").named_parameters():
        if f".{ADAPTER}." in key or (key.startswith("pooler.") and pooling != "pooler"):
            continue
        if key not in weights:
            raise IntegrationError(f"backbone {name} lacks {key}: choose another pooling, for example 'mean'")
        if not torch.equal(parameter.detach().to("cpu", torch.float32), weights[key].float()):
            raise IntegrationError(
                f"{key} of the model differs from that of backbone {name}: load the model from it in float32, and "
                "train only adapters and classifier"
            )


@torch.no_grad()
def _golden_examples(
    model: nn.Module, source: BackboneSource, task: TaskSpec, examples: Sequence[TextInput]
) -> tuple[GoldenExample, ...]:
    """Compute the logits of `examples`, each alone, with the rules of tokenizing of `task`."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    golden = []
    for inputs, encoding in zip(examples, source.encoder.encode_for(task, examples), strict=True):
        token_ids = torch.tensor(encoding.token_ids, device=device)[None]
        type_ids = torch.tensor(encoding.type_ids, device=device)[None]
        output = model(input_ids=token_ids, token_type_ids=type_ids, attention_mask=torch.ones_like(token_ids))
        logits = cast(Tensor, output.logits)[0].float().tolist()
        golden.append(GoldenExample(inputs=inputs, logits=tuple(logits)))
    model.train(was_training)
    return tuple(golden)
