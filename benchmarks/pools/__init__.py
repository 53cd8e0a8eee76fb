"""A family of drawn pools with known faults, two base models, and real trainings on each."""
