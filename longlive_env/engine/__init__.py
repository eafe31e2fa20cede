"""The engine: streaming generation of video worlds. Imports torch, numpy and safetensors only."""
