"""Limits: how many requests, how many chats at once, how many tokens and how much money in a month."""

from llmos_lite.core.limits.limits import Defaults, Limits
from llmos_lite.core.limits.reservation import Reservation

__all__ = ["Defaults", "Limits", "Reservation"]
