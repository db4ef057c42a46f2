"""The estimated speed of the engine, and the batch size that follows from it."""

from service.scheduling.throughput import UNMEASURED_TOKENS_PER_S, ThroughputEstimator


def test_unknown_until_a_full_batch_was_seen() -> None:
    """A slow engine is assumed until a full batch was measured."""
    throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
    assert throughput.batch_tokens == 4096
    assert throughput.assumed_tokens_per_s == UNMEASURED_TOKENS_PER_S
    throughput.observe(10, 0.1, full=False)
    assert throughput.tokens_per_s is None
    assert throughput.assumed_tokens_per_s == UNMEASURED_TOKENS_PER_S
    throughput.observe(1000, 0.1, full=False)
    assert throughput.assumed_tokens_per_s == 10_000
    throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
    throughput.observe(100, 1.0, full=True)
    assert throughput.assumed_tokens_per_s == 100
    assert ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1).seconds(1000) == 0


def test_after_small_batches_the_first_large_ones_are_not_too_large() -> None:
    """The budget starts from what the engine has shown, and grows from full batch to full batch."""
    throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
    throughput.observe(10, 0.1, full=False)
    assert throughput.batch_tokens == 256
    throughput.observe(400, 0.1, full=False)
    assert throughput.batch_tokens == 400
    throughput.observe(400, 0.05, full=True)
    assert throughput.tokens_per_s == 8000
    assert throughput.batch_tokens == 800


def test_full_batches_make_a_running_mean() -> None:
    """Each full batch moves the mean a fifth of the way, up or down."""
    throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
    for duration_s, expected in ((0.5, 2000), (0.25, 2400), (2.0, 2020)):
        throughput.observe(1000, duration_s, full=True)
        assert throughput.tokens_per_s == expected
        assert throughput.seconds(expected) == 1


def test_a_batch_that_is_not_full_only_raises_it() -> None:
    """A small batch is slower per token than the engine can be, and faster only if the engine is."""
    throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
    throughput.observe(1000, 0.5, full=True)
    throughput.observe(10, 0.1, full=False)
    assert throughput.tokens_per_s == 2000
    throughput.observe(100, 0.01, full=False)
    assert throughput.tokens_per_s == 10_000


def test_beside_a_backlog_turns_and_batches_are_short() -> None:
    """A turn is a twentieth of the target duration, but at least 80 tokens. A batch takes second turns up to 0.22 of
    it, and no more than 0.12, but 128 tokens, beyond the tokens of light tasks."""
    for tokens_per_s, none, few, many, turn in (
        (1000, 128, 128, 128, 80),
        (10_000, 128, 178, 220, 80),
        (40_000, 480, 530, 880, 200),
        (1_000_000, 4096, 4096, 4096, 256),
    ):
        throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
        assert (throughput.contended_tokens(0), throughput.contended_turn_tokens) == (4096, 256)
        throughput.observe(tokens_per_s, 1.0, full=True)
        assert [throughput.contended_tokens(light) for light in (0, 50, 1000)] == [none, few, many]
        assert throughput.contended_turn_tokens == turn


def test_a_batch_holds_what_is_computed_in_its_time() -> None:
    """The budget follows the measured speed, between 256 tokens and the most."""
    for tokens_per_s, expected in ((1000, 256), (8000, 800), (1_000_000, 4096)):
        throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
        throughput.observe(tokens_per_s, 1.0, full=True)
        assert throughput.batch_tokens == expected
