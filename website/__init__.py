"""The documentation as a site: the pages of docs/, those elsewhere in the repository that they link to, and references.

``python -m website`` (or ``make site``) builds it strictly into ``build/website/site``. Nothing here is part of the package.
"""
