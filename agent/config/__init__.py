"""The configuration: models, loading, and the documents generated from them."""
