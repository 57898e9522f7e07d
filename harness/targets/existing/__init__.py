"""The target ``existing``: a user's cluster, in the context and the two namespaces of the settings."""
