"""Four signals: of a row's text, from the shared pass of the base model, of pairs of rows, and made from another signal."""
