"""The tiny world's own scenes: what they show, how they are drawn, described and read back."""
