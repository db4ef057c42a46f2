"""The subcommands of `adakron`. They import torch only when they run, so `adakron --help` is quick."""
