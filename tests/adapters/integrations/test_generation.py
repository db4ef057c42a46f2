"""A tiny GPT-2 and a tiny T5 with random frozen weights learn a toy language through their adapters, and write it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration, Trainer, TrainingArguments

from adapters.integrations import AdaKronConfig, adakron_disabled, add_adakron, load_adakron, save_adakron

END, FIRST, PERIOD = 1, 4, 6  # the language counts FIRST ... FIRST + PERIOD - 1 and begins again

pytestmark = pytest.mark.usefixtures("one_thread")


def count(start: int, length: int) -> list[int]:
    return [FIRST + (start + step) % PERIOD for step in range(length)]


def counted(model: nn.Module) -> list[list[int]]:
    """The next six tokens after each number of the language, chosen greedily by a causal model."""
    prompts = torch.tensor([count(start, 2) for start in range(PERIOD)])
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    return model.eval().generate(prompts, attention_mask=torch.ones_like(prompts), **options)[:, 2:].tolist()


def frozen(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if ".adakron." not in name}


def test_gpt2_learns_to_count_with_the_trainer(tmp_path: Path) -> None:
    """Trainer teaches only the adapters; generate counts, with the loaded file as well, and not without adapters."""
    config = GPT2Config(
        vocab_size=FIRST + PERIOD,
        n_positions=16,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.2,
        bos_token_id=END,
        eos_token_id=END,
    )
    model = GPT2LMHeadModel(config)
    base = frozen(model)
    add_adakron(model, AdaKronConfig(r=48, q=4))
    expected = [count(start + 2, 6) for start in range(PERIOD)]
    assert counted(model) != expected
    corpus = [torch.tensor(count(start, 8)) for start in range(PERIOD)]
    rows = [{"input_ids": ids, "labels": ids} for ids in corpus]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "checkpoints"),
        max_steps=150,
        per_device_train_batch_size=PERIOD,
        learning_rate=1e-2,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        log_level="error",
    )
    Trainer(model=model, args=arguments, train_dataset=rows).train()
    assert counted(model) == expected
    with adakron_disabled(model):
        assert counted(model) != expected
    after = frozen(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in base.items())
    save_adakron(model, tmp_path / "count.safetensors")
    fresh = GPT2LMHeadModel(config)
    fresh.load_state_dict(base)
    assert counted(load_adakron(fresh, tmp_path / "count.safetensors")) == expected


def test_t5_learns_to_continue() -> None:
    """The encoder reads one number, the decoder counts on from it to the end token."""
    sizes = {"vocab_size": FIRST + PERIOD, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, dropout_rate=0.0, **sizes))
    base = frozen(model)
    add_adakron(model, AdaKronConfig(r=48, q=4))
    questions = torch.tensor([[*count(start, 1), END] for start in range(PERIOD)])
    answers = torch.tensor([[*count(start + 1, 3), END] for start in range(PERIOD)])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for _ in range(300):
        optimizer.zero_grad()
        model(input_ids=questions, labels=answers).loss.backward()
        optimizer.step()
    model.eval()
    options = {"max_new_tokens": 4, "do_sample": False}
    written = model.generate(questions, attention_mask=torch.ones_like(questions), **options)
    assert written[:, 1:].tolist() == answers.tolist()
    with adakron_disabled(model):
        bare = model.generate(questions, attention_mask=torch.ones_like(questions), **options)
    assert bare.tolist() != written.tolist()
    after = frozen(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in base.items())
