"""trivet checks that Kubeflow Pipelines, MLflow and KServe still fit together.

The core integration library is :mod:`trivet.integration`; the statements that are checked live in :mod:`trivet.contracts`.
Importing this package imports nothing else.
"""
