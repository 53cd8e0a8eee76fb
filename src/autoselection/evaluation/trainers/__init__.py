"""What trains a model on a subset."""
