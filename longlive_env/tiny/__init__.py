"""The tiny world's own scenes: what they show, how they are drawn, how they are described and read back."""
