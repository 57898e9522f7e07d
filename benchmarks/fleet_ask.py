"""A program for a runtime's environment: loads a model with ``mlflow.pyfunc`` and asks it, without a server.

Usage: ``python fleet_ask.py MODEL``, with rows as JSON on stdin. The last line of stdout is JSON: ``answers``, and ``error``, which is
empty unless the model does not load or does not answer. Needs MLflow and the model's libraries; nothing of trivet.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from fleet_models import json_answers


def inputs(rows: list[Any], signature: Any) -> Any:
    """The rows in the types of the signature, as a server makes them of a request."""
    if signature is not None and signature.inputs.is_tensor_spec():
        return np.asarray(rows, dtype=signature.inputs.numpy_types()[0])
    if not isinstance(rows[0], dict):
        return np.asarray(rows)
    frame = pd.DataFrame(rows)
    for column in signature.inputs.inputs if signature is not None else ():
        if column.type.name in ("double", "float", "long", "integer"):
            frame[column.name] = frame[column.name].astype(column.type.to_pandas())
    return frame


def main(directory: str) -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    rows = json.load(sys.stdin)
    try:
        model = mlflow.pyfunc.load_model(directory)
    except Exception as error:
        return report(error=error)
    asked = inputs(rows, model.metadata.signature)
    try:
        answers = json_answers(model.predict(asked))
    except Exception as error:
        return report(error=error)
    return report(answers)


def report(answers: list[Any] | None = None, error: Exception | None = None) -> None:
    """Print the line of JSON."""
    text = f"{type(error).__name__}: {error}"[:300] if error else ""
    print(f"\n{json.dumps({'answers': answers, 'error': text})}")


if __name__ == "__main__":
    main(*sys.argv[1:])
