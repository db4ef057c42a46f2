"""The method: AdaKron adapters and their mixture, task heads, and the trainable model of both on a backbone."""
