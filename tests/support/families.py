"""Tiny random models of transformers, one of each family that has a table entry in adapters.integrations."""

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

VOCABULARY = 50
SITES = {  # written out, as transformers names them
    "bert": ["bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.output.dense"],
    "roberta": ["roberta.encoder.layer.0.output.dense", "roberta.encoder.layer.1.output.dense"],
    "distilbert": ["distilbert.transformer.layer.0.ffn.lin2", "distilbert.transformer.layer.1.ffn.lin2"],
    "gpt2": ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"],
    "t5": [
        "encoder.block.0.layer.1.DenseReluDense.wo",
        "encoder.block.1.layer.1.DenseReluDense.wo",
        "decoder.block.0.layer.2.DenseReluDense.wo",
        "decoder.block.1.layer.2.DenseReluDense.wo",
    ],
    "llama": ["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"],
}
HEADS = {
    "bert": {"classifier"},
    "roberta": {"classifier"},
    "distilbert": {"pre_classifier", "classifier"},
    "gpt2": set(),
    "t5": set(),
    "llama": set(),
}


def make_model(family: str, *, seed: int = 0) -> PreTrainedModel:
    """A random model of two layers and hidden size 32, in evaluation mode."""
    bert = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_labels": 3,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "bert":
            model = BertForSequenceClassification(BertConfig(max_position_embeddings=32, **bert))
        elif family == "roberta":
            model = RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=40, **bert))
        elif family == "distilbert":
            sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "num_labels": 3}
            model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=VOCABULARY, **sizes))
        elif family == "gpt2":
            sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32, "bos_token_id": 1, "eos_token_id": 1}
            model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **sizes))
        elif family == "t5":
            sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
            model = T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, decoder_start_token_id=0, **sizes))
        else:
            sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
            model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))
    return model.eval()


def logits_of(model: nn.Module) -> Tensor:
    """The logits of four fixed inputs of seven tokens, the last two of which are padding in one input."""
    token_ids = torch.randint(3, VOCABULARY, (4, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(token_ids)
    mask[0, 5:] = 0
    decoder = {"decoder_input_ids": token_ids} if model.config.model_type == "t5" else {}
    return model(input_ids=token_ids, attention_mask=mask, **decoder).logits


def randomise(model: nn.Module, *, seed: int = 0) -> None:
    """Draw new weights for everything that learns, far enough from zero that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
