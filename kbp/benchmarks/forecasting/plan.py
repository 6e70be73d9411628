"""The trials of the forecasting race: a search, then several seeds."""

from collections.abc import ItemsView, Iterator

from kbp.benchmarks.core.log import find_all
from kbp.benchmarks.forecasting.methods import METHODS, Method
from kbp.benchmarks.forecasting.trial import Protocol, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield the search of each method, then its trials at the best point.

    Look-back and learning rate are chosen for each data set on its validation
    windows, at the shortest horizon.

    Args:
        names: of the methods.
        protocol: of the race.
        results: which hold those of a search when its last trials are asked
            for.
    """
    for name in names:
        yield search(name)
        yield finals(name, protocol, results)


def search(name: str) -> list[Trial]:
    """Return a method's trials of look-backs and learning rates."""
    method = METHODS[name]
    trials = []
    for data, horizon in _shortest(method):
        candidates = [
            Trial(name, data, horizon, lookback, rate, seed=0)
            for lookback in method.lookbacks(data)
            for rate in method.learning_rates
        ]
        trials += candidates if len(candidates) > 1 else []
    return trials


def finals(name: str, protocol: Protocol, results: list[dict]) -> list[Trial]:
    """Return the trials of a method at the best point of its search.

    Args:
        name: of the method.
        protocol: of the race.
        results: which hold those of the search.
    """
    method = METHODS[name]
    trials = []
    for data, horizon in method.cases:
        lookback, rate = best_of(name, data, results)
        trials += [
            Trial(name, data, horizon, lookback, rate, seed)
            for seed in range((method.seeds or protocol.seeds) if rate else 1)
        ]
    return trials


def best_of(name: str, data: str, results: list[dict]) -> tuple[int, float]:
    """Return the look-back and learning rate that are best on validation."""
    method = METHODS[name]
    tried = [t for t in search(name) if t.data == data]
    if not tried:
        (lookback,), (rate,) = method.lookbacks(data), method.learning_rates
        return lookback, rate
    found = find_all(results, tried)
    if 0.0 in method.learning_rates:
        # A training that keeps its start is no better than none.
        found = [r for r in found if r["kept"] or not r["learning_rate"]]
    best = min(found, key=lambda result: result["validation"])
    return best["lookback"], best["learning_rate"]


def _shortest(method: Method) -> ItemsView[str, int]:
    """Return each data set with the shortest horizon it is raced on."""
    shortest: dict[str, int] = {}
    for data, horizon in method.cases:
        shortest[data] = min(horizon, shortest.get(data, horizon))
    return shortest.items()


def describe(result: dict) -> str:
    """Return a result in one line."""
    return (
        f"{result['data']} {result['horizon']}, {result['method']} "
        f"{result['lookback']} {result['learning_rate']:g}, {result['seed']}: "
        f"MSE {result['mse']:.4f}"
    )
