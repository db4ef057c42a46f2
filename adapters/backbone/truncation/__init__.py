"""Cuts a long text before it is tokenized: the pieces next to the asked end give the tokens of the whole text."""
