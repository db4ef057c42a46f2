"""The boundary between the HTTP processes and the engine process: its interface, its messages, and its client."""
