"""One training of SetFit: setfit_once.py TRAIN TEST BACKBONE SEED; prints the answers to the test rows as JSON.

It runs in an environment with setfit, and imports nothing of this project. BACKBONE is a folder.
"""

import json
import sys
from pathlib import Path


def main(train: str, test: str, backbone: str, seed: int) -> None:
    """Train with SetFit's defaults, and print the labels of the test rows."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    rows, asked = ([json.loads(line) for line in Path(name).read_text().splitlines()] for name in (train, test))
    labels = sorted({row["label"] for row in rows})
    model = SetFitModel.from_pretrained(backbone, labels=labels)
    data = Dataset.from_list([{"text": row["text"], "label": labels.index(row["label"])} for row in rows])
    Trainer(model=model, args=TrainingArguments(seed=seed), train_dataset=data).train()
    answers = model.predict([row["text"] for row in asked])
    print(json.dumps([str(answer) for answer in answers]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
