"""Names of the methods that are measured. Nothing is imported here, so that a plan can be made without any library."""

OURS, PLAIN, TRL = "autoselection", "plain loop", "TRL"
FROZEN = "autoselection, embeddings frozen"
PACKED = "packed loop"
