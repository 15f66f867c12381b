"""The catalog for language models, over the Model Context Protocol."""
