"""RecipeBench: real evaluations of many recipes on the demo, as a table that search methods can be compared on."""
