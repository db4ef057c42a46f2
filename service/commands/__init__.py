"""The subcommands of `adakron`. None imports torch before it must: `adakron --help` takes no seconds."""
