"""What the labels of a task are: its type, the names of its classes, and the target of each row."""

from service.train.data.labels.read import LabelReading, read_labels
from service.train.data.labels.scheme import Label, LabelScheme

__all__ = ["Label", "LabelReading", "LabelScheme", "read_labels"]
