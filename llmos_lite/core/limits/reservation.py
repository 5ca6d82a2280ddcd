"""What is set aside for a chat, until it is known what it used."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_lite.core.limits.ledger import Account, Ledger
from llmos_lite.core.limits.prices import FREE, Prices


class Reservation:
    """What is set aside for a chat, until it is settled.

    Args:
        ledger: counts what is used.
        prices: of models.
        model: the name that was asked for.
        question: tokens, rather too many than too few.
        answer: most tokens.

    Attributes:
        tokens: of the question and the answer.
        answer: tokens that the answer may have at most, when it is `bounded`: when some budget applies.
        micros: money, in millionths.
    """

    __slots__ = (
        "_accounts",
        "_held",
        "_ledger",
        "_model",
        "_price",
        "_prices",
        "answer",
        "bounded",
        "micros",
        "tokens",
    )

    def __init__(self, ledger: Ledger, prices: Prices, model: str, question: int, answer: int) -> None:
        price = prices.of(model)
        self._ledger, self._prices, self._price, self._model = ledger, prices, price, model
        self._accounts: Sequence[Account] = ()
        self.answer = answer
        self.tokens, self.micros = question + answer, 0 if price is FREE else price.micros(question, answer)
        self.bounded = self._held = False

    def hold(self, accounts: Sequence[Account]) -> None:
        """Set it aside in some accounts."""
        self._held, self._accounts = True, accounts
        for account in accounts:
            account.tokens += self.tokens
            account.micros += self.micros

    def settle(self, tokens_in: int, tokens_out: int, model: str = "", *, requests: int = 1) -> int:
        """Put what was used in its place; return what it cost in millionths. Doing so again does nothing.

        Args:
            tokens_in: tokens of the question.
            tokens_out: tokens of the answer.
            model: what answered, when that is not what was asked.
            requests: that were made for it.
        """
        if not self._held:
            return 0
        self._held = False
        price = self._price
        if model and model != self._model:
            price = self._prices.find(model) or price
        cost = 0 if price is FREE else price.micros(tokens_in, tokens_out)
        for account in self._accounts:
            account.tokens -= self.tokens
            account.micros -= self.micros
            used = account.used
            used.requests += requests
            used.tokens_in += tokens_in
            used.tokens_out += tokens_out
            used.micros += cost
        self._ledger.settle(self._accounts)
        return cost
