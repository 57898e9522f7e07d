"""What the contracts over manifests share: rules read from KServe, Knative and Kubernetes, and schemas. Declares no contract."""
