"""Scripts that make the data of ``autoselection.demo``; see README.md."""
