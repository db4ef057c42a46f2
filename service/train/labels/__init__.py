"""What the labels of a task are: its type, the names of its classes, and the target of each row."""

from service.train.labels.reading import LabelReading, read_labels
from service.train.labels.scheme import Label, LabelScheme

__all__ = ["Label", "LabelReading", "LabelScheme", "read_labels"]
