"""The label column of the training data: the type of the task, the class names, and the target of each row."""

from service.train.data.labels.read import LabelReading, read_labels, read_scheme
from service.train.data.labels.scheme import Label, LabelScheme

__all__ = ["Label", "LabelReading", "LabelScheme", "read_labels", "read_scheme"]
