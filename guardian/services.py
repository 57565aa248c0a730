"""The verbs of guardian."""
