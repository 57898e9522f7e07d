"""The target ``existing``: a cluster of the user's, in a context and two namespaces that the user names. Nothing there is guessed."""
