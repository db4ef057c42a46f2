"""Which requests form the next batch: admission, fair queue, scheduler, throughput estimate. Imports no torch."""
