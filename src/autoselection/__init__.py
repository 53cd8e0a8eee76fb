"""AutoSelection: search for the ordered recipe that cuts the best fine-tuning set out of a fixed pool."""
