"""AdaKron in models of other libraries: as adapters of a transformers model, and to and from the adapter file.

Imports no transformers; a model brings its own. Nothing else in `adapters` or `service` imports this package.
"""

from adapters.integrations.bert import export_adapter, import_adapter, tokenizer_options
from adapters.integrations.config import AdaKronConfig, IntegrationError
from adapters.integrations.files import load_adakron, save_adakron
from adapters.integrations.transformers import adakron_disabled, add_adakron, merge_adakron, remove_adakron

__all__ = [
    "AdaKronConfig",
    "IntegrationError",
    "adakron_disabled",
    "add_adakron",
    "export_adapter",
    "import_adapter",
    "load_adakron",
    "merge_adakron",
    "remove_adakron",
    "save_adakron",
    "tokenizer_options",
]
