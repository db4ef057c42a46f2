"""Make adapterhub.safetensors: outputs of AdapterHub's code on a small random BERT, with random weights.

Run it with adapters 1.3.0 and transformers 4.57, outside of this project's environment: both have a package `adapters`.

    python tests/service/train/fit/methods/golden/make_golden.py
"""

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

import adapters
from adapters import AdapterConfig, ConfigUnion, DoubleSeqBnConfig, LoRAConfig, PrefixTuningConfig

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 16,
}
TWO = DoubleSeqBnConfig(non_linearity="gelu", reduction_factor=4)
ONE = DoubleSeqBnConfig(non_linearity="gelu", reduction_factor=4, mh_adapter=False)
PREFIX, LORA = PrefixTuningConfig(flat=True, prefix_length=10), LoRAConfig(r=8, alpha=16)
GATED = {"use_gating": True}
# method -> configuration, and what our names have before the parts: adapter, LoRA, prefix
METHODS: dict[str, tuple[AdapterConfig, str, str, str]] = {
    "houlsby": (TWO, "feed_forward.", "", ""),
    "pfeiffer": (ONE, "", "", ""),
    "lora": (LORA, "", "", ""),
    "prefix-tuning": (PREFIX, "", "", ""),
    "unipelt-ap": (ConfigUnion(PREFIX.replace(**GATED), ONE.replace(**GATED)), "adapter.", "", "prefix."),
    "unipelt-apl": (
        ConfigUnion(PREFIX.replace(**GATED), ONE.replace(**GATED), LORA.replace(**GATED)),
        "adapter.",
        "lora.",
        "prefix.",
    ),
}


def rename(name: str, adapter: str, lora: str) -> str:
    """Our name of a part in one layer."""
    for theirs, ours in (
        (r"attention\.output\.adapters\.m\.adapter_down\.0\.", "attention.down."),
        (r"attention\.output\.adapters\.m\.adapter_up\.", "attention.up."),
        (r"output\.adapters\.m\.adapter_down\.0\.", f"{adapter}down."),
        (r"output\.adapters\.m\.adapter_up\.", f"{adapter}up."),
        (r"output\.adapters\.m\.gate\.", "adapter_gate."),
        (r"attention\.self\.(query|value)\.loras\.m\.lora_A", rf"{lora}\1.down.weight"),
        (r"attention\.self\.(query|value)\.loras\.m\.lora_B", rf"{lora}\1.up.weight"),
        (r"attention\.self\.(query|value)\.loras\.m\.gate\.", r"lora_gates.\1."),
        (r"attention\.self\.prefix_tuning\.prefix_gates\.m\.", "prefix_gate."),
    ):
        if match := re.match(theirs, name):
            return match.expand(ours) + name[match.end() :]
    raise ValueError(name)


def main() -> None:
    """Write the file beside this one."""
    torch.manual_seed(0)
    config = BertConfig(**SHAPE, attn_implementation="eager")
    bert = BertModel(config, add_pooling_layer=False).eval()
    for parameter in bert.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.15)
    tensors = {f"bert.{name}": value.clone() for name, value in bert.state_dict().items()}
    token_ids, type_ids = torch.randint(60, (3, 7)), torch.randint(2, (3, 7))
    tensors |= {"input.token_ids": token_ids, "input.type_ids": type_ids}
    for method, (method_config, adapter, lora, prefix) in METHODS.items():
        model = BertModel(config, add_pooling_layer=False)
        model.load_state_dict(bert.state_dict())
        adapters.init(model)
        model.add_adapter("m", config=method_config)
        model.set_active_adapters("m")
        model.eval()
        for name, parameter in model.named_parameters():
            if ".m." not in name:
                continue
            torch.nn.init.normal_(parameter, std=0.3)
            if name.endswith("control_trans"):
                parts = parameter.detach().view(10, 2 * SHAPE["num_hidden_layers"], SHAPE["hidden_size"])
                for layer in range(SHAPE["num_hidden_layers"]):
                    for index, part in enumerate(("keys", "values")):
                        tensors[f"{method}.layers.{layer}.{prefix}{part}"] = parts[:, 2 * layer + index].clone()
                continue
            layer, rest = re.fullmatch(r".*encoder\.layer\.(\d+)\.(.+)", name).groups()
            tensors[f"{method}.layers.{layer}.{rename(rest, adapter, lora)}"] = parameter.detach().clone()
        with torch.inference_mode():
            output = model(token_ids, token_type_ids=type_ids, attention_mask=torch.ones_like(token_ids))
        tensors[f"{method}.output"] = output.last_hidden_state.clone()
    save_file(tensors, Path(__file__).with_name("adapterhub.safetensors"))


if __name__ == "__main__":
    main()
