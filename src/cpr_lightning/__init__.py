"""Cascade Patch Retrieval (arXiv 2308.06748): find defects in images of a product from good images alone."""

import os

__version__ = "0.1.0"

# albumentations asks a server for its newest version when it is imported, unless this is set first.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
