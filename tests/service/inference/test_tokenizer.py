"""Tokenizing in threads: short texts at once, the others in threads, tasks in turn; the tokens are the same."""

import asyncio
import threading
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import pytest

from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding, Steps, TextInput
from adapters.config import TaskSpec
from service.errors import InvalidInput
from service.inference.round_robin import RoundRobinExecutor
from service.inference.tokenizer import MAX_CHARS_AT_ONCE, Tokenizer

TASK = TaskSpec(type="regression", labels=(), pair=False, pooling="cls", max_length=64)


@pytest.mark.parametrize(
    ("inputs", "at_once"),
    [
        (["a good film"], True),
        (["a" * MAX_CHARS_AT_ONCE], True),
        (["a" * (MAX_CHARS_AT_ONCE + 1)], False),
        (["a good film"] * 100, False),
        ([("a" * MAX_CHARS_AT_ONCE, "b")], False),
    ],
)
async def test_only_what_takes_long_changes_threads(
    tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch, inputs: list[TextInput], at_once: bool
) -> None:
    """The loop's thread takes what is short; in every thread the encodings are those of the encoder."""
    expected = tiny.encoder.encode_for(TASK, inputs)
    tokenizer = Tokenizer(tiny.encoder, 1)
    await tokenizer.encode(["a"], "task", TASK)
    threads: list[threading.Thread] = []
    steps = tiny.encoder.steps

    def noted(given: Sequence[TextInput], **options: Any) -> Steps:
        threads.append(threading.current_thread())
        return (yield from steps(given, **options))

    monkeypatch.setattr(tiny.encoder, "steps", noted)
    found = await tokenizer.encode(inputs, "task", TASK)
    tokenizer.close()
    assert [thread is threading.main_thread() for thread in threads] == [at_once]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.token_ids, other.token_ids)


async def test_a_tokenizer_is_made_in_a_thread(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first text of a rule, however short, does not hold up the event loop while tokenizer.json is parsed."""
    threads: list[threading.Thread] = []
    steps = tiny.encoder.steps

    def noted(given: Sequence[TextInput], **options: Any) -> Steps:
        threads.append(threading.current_thread())
        return (yield from steps(given, **options))

    monkeypatch.setattr(tiny.encoder, "steps", noted)
    tokenizer = Tokenizer(tiny.encoder, 1)
    for rule in ("obeyed", "text", "obeyed", "text"):
        await tokenizer.encode(["a"], "task", TASK.model_copy(update={"special_tokens": rule}))
    tokenizer.close()
    assert [thread is threading.main_thread() for thread in threads] == [False, False, True, True]


async def test_truncation_is_the_tasks_own_unless_the_request_gives_one(tiny: LoadedBackbone) -> None:
    """A task that was trained on the ends of texts reads their ends."""
    text = "one two three four five six seven eight " * 20
    tokenizer = Tokenizer(tiny.encoder, 1)
    spec = TASK.model_copy(update={"truncation": "left", "max_length": 8})
    for given, expected in ((None, "left"), ("right", "right"), ("head-tail", "head-tail")):
        (found,) = await tokenizer.encode([text], "task", spec, given)
        (wanted,) = tiny.encoder.encode([text], max_length=8, truncation=expected)
        np.testing.assert_array_equal(found.token_ids, wanted.token_ids)
    tokenizer.close()


@pytest.mark.parametrize("text", ["\ud800", "\ud800" * (MAX_CHARS_AT_ONCE + 1)])
async def test_what_cannot_be_encoded(tiny: LoadedBackbone, text: str) -> None:
    """A lone surrogate is InvalidInput in either thread."""
    tokenizer = Tokenizer(tiny.encoder, 1)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="surrogate"):
            await asyncio.wait_for(tokenizer.encode([text], "task", TASK), 30)
    tokenizer.close()


class Bench:
    """Jobs whose steps are noted, each step when a semaphore lets it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.go = threading.Semaphore(0)

    def job(self, name: str, num_steps: int) -> Generator[None, None, str]:
        """Takes `num_steps` steps and returns its name."""
        for left in range(num_steps, 0, -1):
            self.go.acquire()
            self.taken.append(name)
            if left > 1:
                yield
        return name


async def test_tasks_take_turns_and_jobs_of_a_task_stand_in_line() -> None:
    """A task with three long jobs delays another task's short ones by one step each, and its own first job is done
    first."""
    executor, bench = RoundRobinExecutor(1, "test"), Bench()
    jobs = [executor.run("a", bench.job(f"a{index}", 3)) for index in range(3)]
    jobs += [executor.run("b", bench.job(f"b{index}", 1)) for index in range(2)]
    running = asyncio.gather(*jobs)
    await asyncio.sleep(0)
    bench.go.release(11)
    assert await running == ["a0", "a1", "a2", "b0", "b1"]
    executor.close()
    assert bench.taken == ["a0", "a0", "b0", "a0", "b1", "a1", "a1", "a1", "a2", "a2", "a2"]


async def test_what_is_given_up_is_dropped() -> None:
    """After the caller is cancelled no step of its job is run: not if it waits, and not after the step under way."""
    executor, bench = RoundRobinExecutor(1, "test"), Bench()
    first, second, third = (asyncio.ensure_future(executor.run("a", bench.job(name, 3))) for name in "xyz")
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    bench.go.release(4)
    assert await third == "z"
    executor.close()
    assert bench.taken == ["x", "z", "z", "z"]
    assert not executor._waiting


async def test_an_error_of_a_step_is_its_callers_own() -> None:
    """It is raised where the job was handed in, and the thread goes on with the others."""

    def broken() -> Generator[None, None, None]:
        yield
        raise ValueError("broken")

    executor, bench = RoundRobinExecutor(1, "test"), Bench()
    bench.go.release(2)
    found = await asyncio.gather(
        executor.run("a", broken()), executor.run("a", bench.job("y", 2)), return_exceptions=True
    )
    executor.close()
    assert [repr(one) for one in found] == ["ValueError('broken')", "'y'"]


async def test_short_texts_pass_long_ones_of_another_task(tiny: LoadedBackbone) -> None:
    """While ten requests of 1,024 long texts of one task are under way, eight texts of another one are tokenized after
    a few steps."""
    tokenizer = Tokenizer(tiny.encoder, 1)
    await tokenizer.encode(["a"], "b", TASK)
    done: list[str] = []

    async def encode(inputs: Sequence[TextInput], task: str) -> list[Encoding]:
        encodings = await tokenizer.encode(inputs, task, TASK)
        done.append(task)
        return encodings

    long: list[TextInput] = [". " * 500] * 512
    running = [asyncio.ensure_future(encode(long, "a")) for _ in range(10)]
    await asyncio.sleep(0)
    await encode(["a good film " * 10] * 8, "b")
    assert done == ["b"]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    tokenizer.close()
