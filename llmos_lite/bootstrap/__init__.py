"""The only place that chooses: it reads `Settings`, opens one engine of each kind, hands out frozen `Services`."""

from llmos_lite.bootstrap.opening import open_services
from llmos_lite.bootstrap.reaching import reach
from llmos_lite.bootstrap.services import Services, address, public_address
from llmos_lite.bootstrap.starting import warnings, who_answers

__all__ = ["Services", "address", "open_services", "public_address", "reach", "warnings", "who_answers"]
