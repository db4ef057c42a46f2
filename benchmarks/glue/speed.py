"""Training speed of each method: tokens a second in `adakron train`'s own loop, the methods in turns.

A few steps on one task; medians of the rounds, before which all warm up once.
"""

import time
from statistics import median

from benchmarks.glue import worker
from benchmarks.glue.grid import BATCH_SIZE, METHODS
from benchmarks.report import report
from service.train.fit.batches import EncodedRows

NUM_STEPS = 24


def measure(setting: worker.Setting, task: str, rounds: int) -> None:
    """Print, and write results/glue_speed.json."""
    worker.initialise(setting)
    codec, train, validation = worker.rows_of(task, setting, 128)
    num_rows = NUM_STEPS * BATCH_SIZE
    train = EncodedRows(train.encodings[:num_rows], train.targets[:num_rows])
    validation = EncodedRows(validation.encodings[:2], validation.targets[:2])
    seconds: dict[str, list[float]] = {contender.name: [] for contender in METHODS}
    for _ in range(rounds + 1):
        for contender in METHODS:
            run = contender.runs(task, seed=1, epochs=1)[0]
            started = time.perf_counter()
            worker.train_one(run, setting, train, validation, codec)
            seconds[contender.name].append(time.perf_counter() - started)
    rates = {name: sum(train.lengths) / median(times[1:]) for name, times in seconds.items()}
    rows = [{"method": name, "tokens/s": rate, "of full": rate / rates["full"]} for name, rate in rates.items()]
    settings = {"task": task, "steps": NUM_STEPS, "batch": BATCH_SIZE, "rounds": rounds, "bfloat16": setting.bfloat16}
    report("glue_speed", settings, rows, [])
