"""`python -m service.train` is `adakron train`."""

from service.train.command import app

if __name__ == "__main__":
    app()
