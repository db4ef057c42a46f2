"""AdaKron Serve: many text tasks on one frozen BERT."""
