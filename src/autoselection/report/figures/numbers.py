"""The height of plots that have a line for each name."""

#: Pixels of a line of a plot that has one line for each name, and of its frame.
LINE, FRAME = 24, 110
