"""The settings of a server, and how they are read from the environment and the command line."""

from service.settings.model import Settings
from service.settings.reading import Problem, Reading, load_settings, read_settings

__all__ = ["Problem", "Reading", "Settings", "load_settings", "read_settings"]
