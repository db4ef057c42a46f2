"""A frozen BERT: its files, text to token ids, and the encoder on packed rows."""
