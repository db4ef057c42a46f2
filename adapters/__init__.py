"""AdaKron: parameter-efficient adapters on one frozen BERT (Braga, Raganato, Pasi, LREC-COLING 2024)."""
