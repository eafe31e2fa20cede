"""Published weights: which files a world needs, and how to download them."""

from longlive_env.hub.sources import SOURCES, HubFile, Source, WebFile
from longlive_env.hub.weights import Progress, download

__all__ = ["SOURCES", "HubFile", "Progress", "Source", "WebFile", "download"]
