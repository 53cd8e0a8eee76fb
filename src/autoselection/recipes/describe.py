"""A recipe's steps in words for people: what decides, the rest only where it is not the default.

Numbers have three significant digits; the recipe itself, and what is hashed, has all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autoselection.errors import RecipeError
from autoselection.operators import default_registry, validate_params

Params = Mapping[str, Any]

_PER = {"source": "within source", "task": "within task", "cluster": "within cluster", "tools": "within set of tools"}
_LISTED = 5  # names of a list that are written out (count)


def describe_step(operator: str, given: Params, names: Mapping[str, str]) -> str:
    """One step, such as ``ifd_filter(lowest 50%, within source)``.

    Args:
        operator: its name; one that is not registered is shown with its parameters as they are.
        given: its parameters.
        names: what recipes are called, by the id that a step names.
    """
    registry = default_registry()
    phrases: list[str] | None = None
    if operator in registry.names():
        try:
            params = validate_params(registry.get(operator), given)
        except RecipeError:  # not a step that could run; it is shown as it stands
            params = {}
        if params:
            phrases = _PHRASES[operator](params) if operator in _PHRASES else _other(operator, params, names)
    if phrases is None:
        phrases = [f"{key}={_value(value, names)}" for key, value in given.items() if value is not None]
    return f"{operator}({', '.join(phrases)})" if phrases else operator


def _other(operator: str, params: Params, names: Mapping[str, str]) -> list[str]:
    """Filters by what they cut, operators on recipes by the recipe, plugins by what differs from their defaults."""
    if set(params) == {"source_recipe"}:
        return [_value(params["source_recipe"], names)]
    if {"direction", "missing", "scope"} <= set(params):
        return [*_signal(params), *_cut(params, "for each task" if operator == "mona_filter" else "")]
    declared = {param.name: param.default for param in default_registry().get(operator).params if param.group is None}
    return [
        f"{key}={_value(value, names)}"
        for key, value in params.items()
        if value is not None and not (key in declared and declared[key] == value)
    ]


def _signal(params: Params) -> list[str]:
    return [str(params["signal"])] if params.get("signal") is not None else []


def _cut(params: Params, each: str = "", ends: tuple[str, str] = ("highest", "lowest")) -> list[str]:
    """What a filter by score keeps, and within what."""
    low = params["direction"] == "low"
    end = ends[low]
    found = []
    if params.get("fraction") is not None:
        found.append(f"{end} {percent(params['fraction'])}")
    elif params.get("top_k") is not None:
        found.append(f"{end} {params['top_k']:,} rows")
    elif params.get("threshold") is not None:
        found.append(f"at {'most' if low else 'least'} {number(params['threshold'])}")
    elif params.get("band_low") is not None:
        found.append(f"from {percent(params['band_low'])} to {percent(params['band_high'])} of the order")
    if each and found and params.get("threshold") is None:
        found[0] += f" {each}"
    if params["scope"] != "whole":
        found.append(_PER[params["scope"]])
    return found + _missing(params)


def _missing(params: Params, default: str = "drop") -> list[str]:
    if params.get("missing", default) == default:
        return []
    return ["rows without a score kept" if params["missing"] == "keep" else "rows without a score dropped"]


def _size(params: Params) -> list[str]:
    if params.get("fraction") is not None:
        return [percent(params["fraction"])]
    return [f"{params['total_samples']:,} rows"] if params.get("total_samples") is not None else []


def _truncate(params: Params) -> list[str]:
    return [f"random {size}" for size in _size(params)]


def _sources(params: Params) -> list[str]:
    return [f"{params['mode']} {_list(params['sources'])}"]


def _mix(params: Params) -> list[str]:
    if params.get("weights") is not None:
        shares = [f"{name} {number(weight)}" for name, weight in params["weights"].items()]
        shares += [f"others {number(params['other'])}"] if params.get("other") is not None else []
        return [" : ".join(shares), *_size(params)]
    return [f"temperature {number(params['temperature'])}", *_size(params)]


def _varentropy_mix(params: Params) -> list[str]:
    return [f"temperature {number(params['temperature'])}", *_size(params), *_missing(params)]


def _length(params: Params) -> list[str]:
    found = [str(params["length"]).removeprefix("n_").replace("_", " ")]
    low, high = params.get("min"), params.get("max")
    if low is not None and high is not None:
        found.append(f"{number(low)} to {number(high)}")
    elif low is not None:
        found.append(f"at least {number(low)}")
    elif high is not None:
        found.append(f"at most {number(high)}")
    return [*found, *_cut(params, ends=("longest", "shortest"))]


def _sample(params: Params) -> list[str]:
    likelier = "low" if params["direction"] == "low" else "high"
    found = [f"{params['signal']}", *_size(params), f"{likelier} likelier"]
    if params["temperature"] != 1.0:
        found.append(f"temperature {number(params['temperature'])}")
    return found + _missing(params)


def _diversity(params: Params) -> list[str]:
    size = percent(params["fraction"]) if params.get("fraction") is not None else f"{params['top_k']:,} rows"
    return [str(params["method"]).replace("_", "-"), size, *_missing(params)]


def _balance(params: Params) -> list[str]:
    found = [*_size(params)]
    spread = f"temperature {number(params['temperature'])}" if params["spread"] == "temperature" else params["spread"]
    found.append(f"{spread} shares" if params["spread"] != "temperature" else spread)
    if params.get("clusters") is not None:
        found.append(f"{params['clusters']:,} clusters")
    if params["within"] == "best":
        found.append(f"{'lowest' if params.get('direction') == 'low' else 'highest'} {params['signal']}")
    return found + _missing(params)


def _dedup(params: Params) -> list[str]:
    found = [str(params["strategy"])]
    if params.get("jaccard_threshold") is not None:
        found.append(f"Jaccard {number(params['jaccard_threshold'])}")
    if params.get("cosine_threshold") is not None:
        found.append(f"cosine {number(params['cosine_threshold'])}")
    if params.get("ngram_size", 5) != 5:
        found.append(f"{params['ngram_size']}-grams")
    if params.get("num_perm", 128) != 128:
        found.append(f"{params['num_perm']} permutations")
    if params.get("part", "row") != "row":
        found.append(f"{params['part']}s")
    return found


def _semdedup(params: Params) -> list[str]:
    return [f"cosine {number(params['cosine_threshold'])}", f"{params['num_clusters']:,} clusters"]


def _decontaminate(params: Params) -> list[str]:
    share = params["threshold"]
    found = [f"{percent(share)} of an item's n-grams" if share else "any shared n-gram"]
    if params.get("cosine_threshold") is not None:
        found.append(f"cosine {number(params['cosine_threshold'])}")
    return found + _missing(params, "keep")


_PHRASES: Mapping[str, Callable[[Params], list[str]]] = {
    "truncate_samples": _truncate,
    "source_filter": _sources,
    "source_mix": _mix,
    "varentropy_mix": _varentropy_mix,
    "length_filter": _length,
    "sample": _sample,
    "diversity": _diversity,
    "cluster_balance": _balance,
    "semantic_dedup": _dedup,
    "semdedup": _semdedup,
    "decontaminate": _decontaminate,
}


def number(value: float) -> str:
    """A number with three significant digits."""
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return shown.removesuffix(".0")


def percent(share: float) -> str:
    """A share with three significant digits; never 0% or 100% for what is neither."""
    shown = f"{100 * share:.3g}%"
    return f"{100 * share:.6g}%" if shown in ("100%", "0%") and share not in (0.0, 1.0) else shown


def _list(names: Any) -> str:
    shown = ", ".join(map(str, list(names)[:_LISTED]))
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


def _value(value: Any, names: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, (list, tuple)):
        return _list(value)
    if isinstance(value, Mapping):
        return " : ".join(f"{name} {_value(weight, names)}" for name, weight in value.items())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return str(value)
