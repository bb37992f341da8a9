"""The price book: dollars for tokens of a model that is asked over an endpoint, and for an hour of your own machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bakeoff.config import Costs
from bakeoff.errors import ConfigError
from bakeoff.types import Usage

if TYPE_CHECKING:
    from bakeoff.evaluation.comparison import Comparison

HOUR = 0.10
"""Dollars for an hour of a machine with two cores, where nobody says: what clouds ask, within a factor of two."""
BUSY = (1.0, 0.1)
"""Utilisation at the ends of the band: never idle, and idle nine tenths of the time."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Dollars for a million tokens of one model."""

    input: float
    cached: float
    output: float
    source: str
    """As in `genai-prices 0.2.3`, or `bakeoff.toml`."""

    def of(self, fresh: float, cached: float, output: float) -> float:
        return (fresh * self.input + cached * self.cached + output * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Book:
    """The prices of one run."""

    hour: float = HOUR
    """Dollars for an hour of the machine."""
    utilisation: float = 0.3
    """Share of the time in which the machine has work."""
    models: Mapping[str, Tokens] = field(default_factory=dict)
    """System -> prices of its model, where it is asked over a priced endpoint."""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """System -> why its endpoint has no price; its seconds are priced as if the machine were yours."""
    said: bool = False
    """Whether a price is known or given: then dollars decide what is cheaper, else prompt-token equivalents do."""
    hour_said: bool = False
    example: float = 0.0
    """Dollars of people's time for an example."""
    questions: float = 100_000
    """Asked over the life of the system; what was built is spread over them."""
    changes: float = 0.0
    """Changes of a document over that life, each of which is followed."""
    wrong: float = 0.0
    """Dollars that a wrong answer costs."""

    def price(self, system: str, usage: Usage) -> float:
        """Dollars for what an answer took."""
        return self.dollars(system, usage.fresh, usage.cached, usage.output, usage.seconds)

    def dollars(self, system: str, fresh: float, cached: float, output: float, seconds: float) -> float:
        """The same in single figures, which may be means."""
        if system in self.models:
            return self.models[system].of(fresh, cached, output)
        return seconds * self.hour / 3600 / self.utilisation

    def device(self, seconds: float) -> float:
        """Dollars for seconds of training or indexing, which leave no idle time to pay for."""
        return seconds * self.hour / 3600


def book(comparison: Comparison, options: Costs) -> Book:
    """The prices of the models that answered in a run, as bakeoff.toml says or else as genai-prices knows them.

    Raises `ConfigError` for prices that cannot be.
    """
    models, unknown = {}, {}
    given = {name: _given(name, prices) for name, prices in options.models.items()}
    for system, settings in comparison.run.get("settings", {}).items():
        base = str(settings.get("base", ""))
        if system not in comparison.systems or not base.startswith(("http://", "https://")):
            continue
        url, _, model = base.partition("#")
        found = given.get(model) or _known(url, model)
        if isinstance(found, Tokens):
            models[system] = found
        else:
            unknown[system] = found
    for name in ("device_hour", "changes", "labour_hour", "labelling_minutes", "wrong_answer"):
        if getattr(options, name) < 0:
            raise ConfigError(f"bakeoff.toml [costs] {name} is below 0; give what it is, in dollars, minutes or times")
    if not 0 < options.utilisation <= 1 or options.questions < 1:
        raise ConfigError("bakeoff.toml [costs]: utilisation lies above 0 and up to 1, and questions from 1 on")
    return Book(
        hour=options.device_hour or HOUR,
        utilisation=options.utilisation,
        models=models,
        unknown=unknown,
        said=bool(models or options.device_hour),
        hour_said=bool(options.device_hour),
        example=options.labelling_minutes / 60 * options.labour_hour,
        questions=options.questions,
        changes=options.changes,
        wrong=options.wrong_answer,
    )


def _given(name: str, prices: Any) -> Tokens:
    if not isinstance(prices, Mapping) or set(prices) != {"input", "cached", "output"}:
        raise ConfigError(
            f"bakeoff.toml [costs.models] {name!r} must be a table of input, cached and output, "
            "in dollars for a million tokens, as in {input = 0.15, cached = 0.075, output = 0.6}"
        )
    wrong = [key for key, value in prices.items() if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong or min(prices.values()) < 0:
        raise ConfigError(f"bakeoff.toml [costs.models] {name!r}: prices are numbers from 0 on")
    return Tokens(**prices, source="bakeoff.toml")


def _known(url: str, model: str) -> Tokens | str:
    """What genai-prices says, or why it says nothing."""
    say = f"say what {model!r} costs under [costs.models]"
    try:
        import genai_prices
    except ModuleNotFoundError:
        return f"no price book here: pip install 'bakeoff[openai]', or {say}"
    # Of a thousand, since some models charge more for each token of a very long prompt.
    uses = (
        genai_prices.Usage(input_tokens=1000),
        genai_prices.Usage(input_tokens=1000, cache_read_tokens=1000),
        genai_prices.Usage(output_tokens=1000),
    )
    try:
        prices = [1000 * float(genai_prices.calc_price(one, model, provider_api_url=url).total_price) for one in uses]
    except LookupError:
        return f"genai-prices {genai_prices.__version__} does not know {model!r} at {url}; {say}"
    return Tokens(prices[0], prices[1], prices[2], f"genai-prices {genai_prices.__version__}")
