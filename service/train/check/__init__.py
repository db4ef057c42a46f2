"""`adakron train --check`: everything that a training reads, checks and warns of, without training."""

from service.train.check.examine import examine
from service.train.check.findings import Findings
from service.train.check.show import print_findings

__all__ = ["Findings", "examine", "print_findings"]
