"""The methods of training: AdaKron and its mixtures, and for comparison methods that cannot be served here.

Each is an AdapterModel with the same pooling and head, trained by the same loop; they differ in the other parameters
that learn. The docstring of a method's class cites its paper, and gives the number of its parameters on
BERT-base.
"""

from service.train.fit.methods.build import build_model, num_trained
from service.train.fit.methods.encoder import FullModel

__all__ = ["FullModel", "build_model", "num_trained"]
