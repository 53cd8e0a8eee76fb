"""Selection steps: filters, sampling, deduplication, set operations; their registry and parameter spaces."""

from autoselection.operators.base import (
    BaseOperator,
    Context,
    Operator,
    Outcome,
    Param,
    Rows,
    has_signal,
    validate_params,
)
from autoselection.operators.catalog import document
from autoselection.operators.registry import OperatorRegistry, builtin_operators, default_registry
from autoselection.operators.space import (
    clamp_params,
    encode_params,
    encoding_names,
    perturb_params,
    sample_params,
)

__all__ = [
    "BaseOperator",
    "Context",
    "Operator",
    "OperatorRegistry",
    "Outcome",
    "Param",
    "Rows",
    "builtin_operators",
    "clamp_params",
    "default_registry",
    "document",
    "encode_params",
    "encoding_names",
    "has_signal",
    "perturb_params",
    "sample_params",
    "validate_params",
]
