"""Selection steps: filters, sampling, deduplication, set operations; their registry and parameter spaces."""

from autoselection.operators.base import (
    BaseOperator,
    Context,
    Decision,
    Operator,
    Outcome,
    Rows,
    has_signal,
    judged_by_column,
    validate_params,
)
from autoselection.operators.catalog import document
from autoselection.operators.judgement import Judgement
from autoselection.operators.param import Param, Role, in_role
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
    "Decision",
    "Judgement",
    "Operator",
    "OperatorRegistry",
    "Outcome",
    "Param",
    "Role",
    "Rows",
    "builtin_operators",
    "clamp_params",
    "default_registry",
    "document",
    "encode_params",
    "encoding_names",
    "has_signal",
    "in_role",
    "judged_by_column",
    "perturb_params",
    "sample_params",
    "validate_params",
]
