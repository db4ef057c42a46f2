"""Which requests form the next batch: admission, the fair queue and the scheduler. Knows no torch."""
