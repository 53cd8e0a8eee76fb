"""What a team adds to AutoSelection in a small package of its own."""
