"""Language models, their tokenizers, and conversations as they read them."""
